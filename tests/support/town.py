"""The whole service on a clock that lapses, with a model of Exchange as its next hop: for stories of hours and weeks.

Real settings, real store on disk, real intake, engine and doors; only the wire is replaced, by ``model_exchange``.
``crash`` ends the service as ``kill -9`` does and builds it anew over the same files.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import apsw
import httpx
import structlog

from app.building.foretelling import Foretelling
from app.building.sending import make_directory, make_tenants
from app.building.service import Service, build
from app.intake.intake import Delivery, Intake
from app.intake.outcome import Acceptance, Submission
from app.kit import log
from app.mail.address import parse_named
from app.mail.draft import Draft
from app.mail.message import Priority
from app.settings import load
from app.web.keys import new_key
from app.web.state import Phase
from tests.support.lapse import Lapse, LapseClock
from tests.support.model_exchange import Account, ModelExchange

MAILBOX = "noreply@contoso.test"
_HEAD = """
[server]
admin_keys = [{{ id = "{admin.id}", hash = "{admin.hash}" }}]
[store]
url = "sqlite:///postroom.db"
disk_floor = "0MB"
queue_limit = 0
[delivery]
jitter = 0.0
lifetime = "{lifetime}"
[connections.hop]
host = "127.0.0.1"
auth = {{ method = "password", password = "secret-5" }}
{hop}
"""
_MAILBOX = """
[mailboxes.{name}]
address = "{address}"
connection = "hop"
username = "{address}"
password = "secret-5"
send_as = {send_as}
limits = {{ {limits} }}
"""
_TENANT = """
[tenants.{name}]
keys = [{{ id = "{key.id}", hash = "{key.hash}" }}]
senders = ["*@contoso.test"]
share = {share}
priorities = {priorities}
"""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the town."""

    name: str
    share: int = 1
    priorities: tuple[str, ...] = ("normal", "bulk")


@dataclass(slots=True)
class Posted:
    """A message as it was accepted: seconds since the story began, and what was foretold (seconds, None: never)."""

    id: str
    subject: str
    at: float
    foretold: float | None
    code: str | None


class Town:
    """See the module's promise; made by ``open_town``."""

    log: StringIO

    def __init__(
        self, folder: Path, loop: Lapse, clock: LapseClock, accounts: Sequence[Account], tenants: Sequence[Tenant],
        *, send_as: Sequence[str], lifetime: str, hop: str, extra: str, limits: str,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.clock = clock
        self._is_wired = bool(hop)
        self.exchange = ModelExchange(*accounts)
        self.account = accounts[0]
        self.posted: list[Posted] = []
        self._loop = loop
        rng = random.Random(5)
        self.keys = {name: new_key(False, rng) for name in ("admin", *(each.name for each in tenants))}
        text = _HEAD.format(admin=self.keys["admin"], lifetime=lifetime, hop=hop)
        for account in accounts:
            name = account.address.partition("@")[0]
            text += _MAILBOX.format(
                name=name, address=account.address, send_as=json.dumps(list(send_as)), limits=limits
            )
        for each in tenants:
            text += _TENANT.format(
                name=each.name, key=self.keys[each.name], share=each.share, priorities=json.dumps(each.priorities)
            )
        (folder / "postroom.toml").write_text(text + extra)

    # ------------------------------------------------------------ begin and end

    async def open(self) -> None:
        settings = load(self.folder / "postroom.toml", {})
        self.service: Service = await build(settings, clock=self.clock)
        self._unwatch = self._loop.watch(lambda: self.service.store.is_idle)
        for desk in self.service.engine.desks.values() if not self._is_wired else ():
            desk.sessions = self.exchange.line(desk.spec.address)
        engine = self.service.engine
        self.foretell = Foretelling(self.service.sending.forecaster, self.clock)
        self._intake = Intake(
            store=self.service.store,
            directory=make_directory(settings.mailbox_plans()),
            tenants=make_tenants(settings),
            lifetime=settings.delivery.lifetime,
            clock=self.clock,
            delivery=Delivery(
                self.foretell.new, engine.note, self.foretell.offers_smtputf8, self.foretell.external,
                engine.senders.refused,
            ),
            metrics=self.service.metrics,
        )  # fmt: skip
        await self.service.pauses.restore()
        await engine.start()
        self._running = asyncio.create_task(engine.run())
        self.service.state.enter(Phase.SERVING)

    async def fall(self) -> None:
        """End as ``kill -9`` does: nothing more is settled, every connection is cut, the store is let go."""
        engine = self.service.engine
        tasks = [self._running, *engine._workers, *engine._settling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for desk in engine.desks.values():
            desk.sessions.abort()
        # The writer's thread ends without the loop's knowing: let no time pass meanwhile.
        unwatch = self._loop.watch(lambda: False)
        await self.service.store.close()
        unwatch()
        self._unwatch()

    async def crash(self, *, away: float = 2.0, reboots: bool = False) -> None:
        """Be killed, and start again after ``away`` seconds; with ``reboots`` on a machine that has started anew."""
        await self.fall()
        await asyncio.sleep(away)
        if reboots:
            self.clock.reboot()
        await self.open()

    # ------------------------------------------------------------ doing

    async def post(
        self,
        tenant: str,
        *to: str,
        sender: str = MAILBOX,
        priority: Priority = Priority.NORMAL,
        subject: str = "",
        scheduled_at: datetime | None = None,
    ) -> Posted:
        """Have a message accepted by the intake; its subject tells it from all others."""
        subject = subject or f"{tenant}-{len(self.posted)}"
        draft = Draft(
            sender=parse_named(sender), to=tuple(map(parse_named, to or ("ann@customer.test",))), subject=subject,
            text="Hello", priority=priority, scheduled_at=scheduled_at,
        )  # fmt: skip
        posted = Posted("", subject, 0.0, None, None)
        self.posted.append(posted)

        def render(told: Acceptance) -> bytes:
            posted.id, posted.at = told.id, self.clock.passed
            posted.foretold, posted.code = self._seconds(told.forecast.send_at), _code(told.forecast.waiting_for)
            return b""

        await self._intake.submit(Submission(tenant, "key", "req"), draft, render)
        return posted

    async def foretold(self, tenant: str, posted: Posted) -> tuple[float | None, str | None]:
        """Return what a GET would tell now: when (seconds since the story began), and what limits it."""
        view = await self.service.store.message(tenant, posted.id)
        assert view is not None
        forecast = self.foretell.stored(view)
        return self._seconds(forecast.send_at), _code(forecast.waiting_for)

    def _seconds(self, at: datetime | None) -> float | None:
        return None if at is None else (at - self.clock.now()).total_seconds() + self.clock.passed

    async def ask(self, method: str, path: str, key: str, **more: Any) -> httpx.Response:
        """Knock at a door with the key of a tenant, or of the operator (``admin``)."""
        door = self.service.management if key == "admin" else self.service.api
        headers = {"authorization": f"Bearer {self.keys[key].text}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(door), base_url="http://postroom.test", headers=headers
        ) as client:
            return await client.request(method, path, **more)

    async def message(self, tenant: str, posted: Posted) -> dict[str, Any]:
        return (await self.ask("GET", f"/v1/messages/{posted.id}", tenant)).json()

    async def until(self, condition: Callable[[], object], limit: float = 86_400.0, step: float = 0.25) -> None:
        """Let time pass until a condition holds; looks every ``step`` seconds."""
        end = self.clock.passed + limit
        while not condition():
            assert self.clock.passed < end, f"never: {self.service.engine!r} {list(self.service.engine.desks.values())}"
            await asyncio.sleep(step)

    # ------------------------------------------------------------ reading

    def handed_over(self) -> dict[str, float]:
        """When each message that the next hop took was handed over (its dot), by subject; the first time counts."""
        began: dict[str, float] = {}
        for account in self.exchange.accounts.values():
            for seen in account.diary:
                if seen.verdict == "ok" and seen.dotted is not None:
                    began.setdefault(seen.subject, seen.dotted - self._loop.time() + self.clock.passed)
        return began

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the store's file by a connection of its own."""
        # The store's own library: a second one in the process would drop the first one's locks on the file.
        db = apsw.Connection(str(self.folder / "postroom.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()


def _code(waiting: Any) -> str | None:
    return None if waiting is None else waiting.code


@contextmanager
def swift_folder() -> Iterator[Path]:
    """Lend a folder that is not slowed down by a disk, where there is one: no power fails in these stories."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="town-") as folder:
        yield Path(folder)


@contextmanager
def kept_log(level: str) -> Iterator[StringIO]:
    """Keep what is logged from ``level`` on, and set the log back."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    stream = StringIO()
    log.configure(level, stream=stream)
    try:
        yield stream
    finally:
        root.handlers[:], root.level = handlers, before
        structlog.reset_defaults()


@asynccontextmanager
async def open_town(
    loop: Lapse,
    *tenants: Tenant,
    accounts: Sequence[Account] | None = None,
    send_as: Sequence[str] = ("*@contoso.test",),
    lifetime: str = "72h",
    clock: LapseClock | None = None,
    hop: str = "",
    extra: str = "",
    limits: str = "",
    files: Mapping[str, bytes] = MappingProxyType({}),
    level: str = "error",
) -> AsyncIterator[Town]:
    """Open a town whose relay may use ``accounts`` (one mailbox of that name each).

    ``hop``: more lines of the connection; with some the wire is real, and ``accounts`` are only configured. ``limits``
    of each mailbox, ``extra`` tables and ``files`` beside it are the configuration's. ``level``: from which on lines of
    the log are kept.
    """
    with swift_folder() as folder, kept_log(level) as lines:
        town = Town(
            folder, loop, clock or LapseClock(loop), accounts or (Account(MAILBOX),), tenants, send_as=send_as,
            lifetime=lifetime, hop=hop, extra=extra, limits=limits,
        )  # fmt: skip
        town.log = lines
        for name, octets in files.items():
            (folder / name).write_bytes(octets)
        await town.open()
        try:
            yield town
        finally:
            await town.fall()
