"""Runs the service that ``building`` has put together, until it is told to stop; ``serve`` returns the exit code.

The order of starting is the promise of recovery: addresses, store, what a crash left open, ledgers, then the doors. The
order of stopping is the drain: not ready, doors closed, transactions ended, sessions closed, store closed.
"""

from __future__ import annotations

import asyncio
import gc
import getpass
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from app.building.doctor import DOCTOR, on_call
from app.building.reloading import Reloader, TokenLoops
from app.building.service import Service, build
from app.kit import log
from app.kit.allocation import give_large_blocks_back
from app.kit.clock import SystemClock
from app.kit.failpoints import Failpoints
from app.kit.hardening import keep_secrets_in_memory
from app.queue.contract import StoreError
from app.settings import Settings
from app.web.serving import Listener, bind
from app.web.state import Phase

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_CANNOT_START = 3

_SWITCH_SECONDS = 0.0001
_COLLECT_AFTER = 50_000

_log = log.get_logger("main")


class _Signals:
    """Hears the signals: the first asks for a drain, a second one skips the delay. SIGHUP asks for a reload."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self.reload = asyncio.Event()

    def __call__(self) -> None:
        """Take a signal."""
        (self.hurried if self.asked.is_set() else self.asked).set()


@dataclass(frozen=True, slots=True)
class Reload:
    """Where the configuration came from, and how to read it again."""

    config: Path
    load: Callable[[], Settings]


def _make_reloader(service: Service, reload: Reload, token_loops: TokenLoops, asked: asyncio.Event) -> Reloader:
    return Reloader(
        config=reload.config,
        load=reload.load,
        settings=service.settings,
        workshop=service.workshop,
        adopt=service.adopt,
        recovery=service.sending.recovery,
        doorkeeper=service.sending.doorkeeper,
        token_loops=token_loops,
        metrics=service.metrics,
        clock=service.clock,
        expiries=service.sending.expiries,
        asked=asked,
    )


async def run(
    service: Service, api_socket: socket.socket, management_socket: socket.socket, stop: _Signals, reload: Reload
) -> int:
    """Run a built service until ``stop``; returns the exit code. Ends by itself only when something is broken."""
    server = service.settings.server
    drain = server.drain_timeout.total_seconds()
    tls = (str(server.tls.certificate_file), str(server.tls.key_file)) if server.tls else None
    doors = [
        Listener(service.api, api_socket, drain, tls),
        Listener(service.management, management_socket, drain, None),
    ]
    for door in doors:
        await door.start()
    sources = tuple(service.workshop.tokens.values())
    for source in sources:
        await source.inspect()
    await service.pauses.restore()
    await service.engine.start()
    token_loops = TokenLoops()
    token_loops.start(sources)
    loops = [
        _loop(token_loops.run(), "tokens"),
        _loop(service.engine.run(), "delivery"),
        _loop(service.housekeeper.run(), "housekeeping"),
        _loop(service.sending.expiries.run(), "expiries"),
    ]
    loops.append(_loop(_make_reloader(service, reload, token_loops, stop.reload).run(), "reload"))
    # What has been built lives as long as the process: a full collection that looked through all of it would stop the
    # loop for 30 ms, again and again.
    gc.collect()
    gc.freeze()
    # A request leaves next to nothing that its reference counts do not free: looking at every 700 new objects, as is
    # the default, took 3 % of all CPU at full load.
    gc.set_threshold(_COLLECT_AFTER)
    service.state.enter(Phase.SERVING)
    _log.info("serving", listen=str(server.listen), management_listen=str(server.management_listen))
    asked = asyncio.create_task(stop.asked.wait())
    await asyncio.wait({asked, *loops}, return_when=asyncio.FIRST_COMPLETED)
    code = EXIT_DONE
    for loop in loops:
        if loop.done():
            code = EXIT_FAILED
            _log.error("a loop ended", task=loop.get_name(), exc_info=loop.exception())
    await _drain(service, doors, token_loops, stop, hurried=code != EXIT_DONE)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, asked, return_exceptions=True)
    await service.store.close()
    if service.store.broken:
        code = EXIT_FAILED
    _log.info("stopped", exit_code=code)
    return code


def _loop(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name=name)


async def _drain(
    service: Service, doors: list[Listener], token_loops: TokenLoops, stop: _Signals, *, hurried: bool
) -> None:
    """Stop in the order that loses nothing; see the module's promise."""
    server = service.settings.server
    service.state.enter(Phase.LEAVING)
    _log.info("leaving", delay_seconds=server.drain_delay.total_seconds())
    if not hurried:
        await service.clock.wait(stop.hurried, server.drain_delay.total_seconds())
    service.state.enter(Phase.CLOSED)
    service.bells.ring_all()
    service.housekeeper.is_stopping = True
    closing = [_loop(door.stop(), "web.close") for door in doors]
    await service.engine.stop(server.drain_timeout.total_seconds(), may_record=service.store.broken is None)
    await asyncio.gather(*closing, token_loops.stop())


async def _serve(settings: Settings, reload: Reload, failpoints: Failpoints) -> int:
    stop = _Signals()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    # From the beginning: what is asked for while the service starts is done when it runs.
    loop.add_signal_handler(signal.SIGHUP, stop.reload.set)
    try:
        api_socket = bind(settings.server.listen.host, settings.server.listen.port)
        management_socket = bind(settings.server.management_listen.host, settings.server.management_listen.port)
    except OSError as problem:
        return _cannot_start(f"address in use or not ours: {problem.strerror}", problem)

    def broken(problem: StoreError) -> None:
        # Nothing may be acknowledged any more; the next start recovers from what is on disk.
        _log.critical("the store has failed for good", reason=problem.reason, trouble=str(problem))
        stop.hurried.set()
        stop.asked.set()

    try:
        service = await build(settings, clock=SystemClock(), failpoints=failpoints, on_broken=broken)
    except StoreError as problem:
        return _cannot_start(
            "store locked" if problem.reason == "store-locked" else "the store cannot be opened", problem
        )
    except (OSError, ImportError) as problem:
        return _cannot_start("something it needs cannot be had", problem)
    return await run(service, api_socket, management_socket, stop, reload)


async def at_rest(settings: Settings, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
    """Answer an operator's request while no service runs, under the store's lock.

    Returns what the management listener would: status and document. Raises ``StoreError``.
    """
    # The doctor tells what it meets itself.
    log.configure("critical" if path.endswith(DOCTOR) else "error", settings.log.addresses, sys.stderr)
    service = await build(settings, clock=SystemClock())
    try:
        sources = tuple(service.workshop.tokens.values())
        for source in sources:
            await source.inspect()
        await service.engine.read_parked()
        await service.pauses.restore()
        await service.engine.senders.restore()
        async with on_call(service.engine, sources, path):
            return await service.inside(f"cli:{getpass.getuser()}").ask(method, path, query, body)
    finally:
        await service.store.close()


def _cannot_start(what: str, problem: Exception) -> int:
    print(f"postroom: cannot start: {what}: {problem}", file=sys.stderr)
    return EXIT_CANNOT_START


def serve(settings: Settings, reload: Reload, *, failpoints: str = "") -> int:
    """Run the service of ``settings`` in this process until SIGTERM or SIGINT; returns the exit code.

    ``reload`` reads the configuration again while it runs. ``failpoints`` is the text of ``POSTROOM_FAILPOINTS``
    (development only); raises ``ValueError`` for a wrong one.
    """
    armed = Failpoints(failpoints)
    keep_secrets_in_memory()
    give_large_blocks_back()
    # A loop that never idles keeps the interpreter for 5 ms at a time, and the store's writer thread waits so long at
    # each step: measured 151 accepts/s against 5,241/s.
    sys.setswitchinterval(_SWITCH_SECONDS)
    log.configure(settings.log.level, settings.log.addresses)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, reload, armed))
