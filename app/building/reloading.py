"""Reads the configuration again, on SIGHUP and when a file of it changes, and lets the running service go on with it.

All or nothing: a configuration with any fault changes nothing, and the old one stays in force; it is read again from
time to time, since what it lacks may come by a file that is not known yet. A good one is adopted in one turn of the
loop: senders, keys, limits, mailboxes, replies and schedules, all at once. Sessions of a mailbox that has not changed
stay warm; a changed credential releases a parked one. What only a start can change the log names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from app.building.desks import Making, Remade, Workshop
from app.delivery.doorkeeper import Doorkeeper
from app.delivery.expiries import Expiries
from app.delivery.recovery import Recovery
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.metrics import Metrics
from app.queue.contract import StoreError
from app.settings import ConfigurationFaults, MailboxPlan, Settings
from app.settings.watched import watched_files
from app.signin.tokens import Tokens

_log = get_logger("reload")

_LOOK_SECONDS = 2.0
# How long a configuration that was refused is left alone.
_AGAIN_SECONDS = 30.0
_GOODBYE_SECONDS = 10.0
# Settings that only a start can change.
_FIXED = (
    "server.listen",
    "server.management_listen",
    "server.trusted_proxies",
    "server.tls",
    "server.drain_delay",
    "server.drain_timeout",
    "server.body_limit",
    "server.body_memory",
    "server.body_timeout",
    "server.idempotency_retention",
    "server.redirect_all_to",
    "log",
    "store.url",
    "store.queue_limit",
    "store.disk_floor",
)


class Adopt(Protocol):
    """Lets every room go on with a configuration; neither waits nor fails."""

    def __call__(self, settings: Settings, plans: tuple[MailboxPlan, ...]) -> None:
        """Adopt it."""
        ...


class TokenLoops:
    """The loops that keep tokens fresh, one for each source."""

    def __init__(self) -> None:
        self._loops: dict[Tokens, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, sources: Sequence[Tokens]) -> None:
        """Keep the tokens of more sources fresh."""
        for source in sources:
            loop = self._loops[source] = asyncio.create_task(source.run(), name=source.name)
            loop.add_done_callback(self._ended)

    async def stop(self, sources: Sequence[Tokens] | None = None) -> None:
        """Let sources go, all of them unless told which."""
        leaving = list(self._loops) if sources is None else [each for each in sources if each in self._loops]
        loops = [self._loops.pop(source) for source in leaving]
        await asyncio.gather(*(source.close() for source in leaving))
        await asyncio.gather(*loops, return_exceptions=True)

    async def run(self) -> None:
        """Last until a loop fails, and fail as it did."""
        await self._failed

    def _ended(self, loop: asyncio.Task[None]) -> None:
        if not loop.cancelled() and (problem := loop.exception()) is not None and not self._failed.done():
            self._failed.set_exception(problem)


class Reloader:
    """See the module's promise."""

    def __init__(
        self,
        *,
        config: Path,
        load: Callable[[], Settings],
        settings: Settings,
        workshop: Workshop,
        adopt: Adopt,
        recovery: Recovery,
        doorkeeper: Doorkeeper,
        token_loops: TokenLoops,
        metrics: Metrics,
        clock: Clock,
        expiries: Expiries,
        asked: asyncio.Event,
    ) -> None:
        """Watch ``config`` and what ``settings`` name; ``load`` reads it all again, and does when ``asked`` is set."""
        self._config = config
        self._load = load
        self._settings = settings
        self._workshop = workshop
        self._adopt = adopt
        self._recovery = recovery
        self._doorkeeper = doorkeeper
        self._token_loops = token_loops
        self._metrics = metrics
        self._clock = clock
        self._expiries = expiries
        self._asked = asked
        self._faults: list[str] | None = None  # why the last one was refused
        self._refused_at = 0.0
        self._goodbyes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch until cancelled; a file that is still being written is read once it stands still."""
        read = self._look()
        seen = dict(read)
        while True:
            is_asked = await self._clock.wait(self._asked, _LOOK_SECONDS)
            self._asked.clear()
            before, seen = seen, self._look()
            read = {**seen, **read}  # a file that was not named before counts as read
            is_changed = any(read[path] != signature for path, signature in seen.items())
            if is_asked or (is_changed and seen == before) or self._is_time_again():
                read |= seen
                await self.reload()

    def _is_time_again(self) -> bool:
        return self._faults is not None and self._clock.boot() - self._refused_at >= _AGAIN_SECONDS

    async def reload(self) -> bool:
        """Read it again and go on with it, or tell why not; whether it is in force."""
        try:
            settings = await asyncio.to_thread(self._load)
            plans = settings.mailbox_plans()
            making = self._workshop.prepare(settings, plans)
            rows = await self._recovery.rows_of(self._workshop.newcomers(making))
        except ConfigurationFaults as problem:
            self._refused([str(fault) for fault in problem.faults])
            return False
        except (StoreError, OSError, ImportError, ValueError) as problem:
            self._refused([str(problem)])
            return False
        remade = self._adopted(settings, plans, making)
        known = {desk.spec.name for desk in remade.renamed}
        self._recovery.rebuild(row for row in rows if row.mailbox not in known)
        await self._settle(remade)
        self._faults = None
        self._metrics.config_reload_success.set(1)
        return True

    def _adopted(self, settings: Settings, plans: tuple[MailboxPlan, ...], making: Making) -> Remade:
        fixed = [name for name in _FIXED if _value(settings, name) != _value(self._settings, name)]
        remade = self._workshop.apply(making)
        self._adopt(settings, plans)
        self._settings = settings
        _log.info(
            "configuration adopted",
            mailboxes=len(plans),
            tenants=len(settings.tenants),
            mailboxes_added=[desk.spec.name for desk in remade.added],
            mailboxes_removed=[desk.spec.name for desk in remade.removed],
        )
        if fixed:
            _log.warning("a restart is needed for some changes", settings=fixed)
        return remade

    async def _settle(self, remade: Remade) -> None:
        """Begin what is new and end what is gone; nothing that mail waits for."""
        await asyncio.gather(*(source.inspect() for source in remade.tokens_added))
        self._token_loops.start(remade.tokens_added)
        await self._token_loops.stop(remade.tokens_removed)
        self._expiries.look()
        for desk in remade.removed:
            self._metrics.forget_mailbox(desk.spec.name)
        for desk in remade.ended:
            goodbye = asyncio.create_task(desk.sessions.close(_GOODBYE_SECONDS), name=f"smtp.close.{desk.spec.name}")
            self._goodbyes.add(goodbye)
            goodbye.add_done_callback(self._goodbyes.discard)
        try:
            await self._doorkeeper.renew()
        except StoreError as problem:
            _log.error("store trouble", reason=problem.reason, trouble=str(problem))

    def _refused(self, faults: list[str]) -> None:
        self._metrics.config_reload_success.set(0)
        self._refused_at = self._clock.boot()
        if faults != self._faults:
            self._faults = faults
            _log.error("configuration refused; the old one stays in force", faults=faults)

    def _look(self) -> dict[Path, tuple[int, ...] | None]:
        return {path: _signature(path) for path in watched_files(self._config, self._settings)}


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of the last change of the file's rights too: one that could not be read may be readable now.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _value(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value
