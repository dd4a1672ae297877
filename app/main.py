"""Builds every object once and runs the service: the only place where the rooms meet.

``build`` puts a service together from settings; ``serve`` runs one until it is told to stop and returns the exit code.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app import building
from app.api.doors import create_api, create_inside, create_management
from app.api.inside import Inside
from app.api.services import ApiServices, ManagementServices
from app.building import Sending
from app.building_desks import Workshop
from app.building_doctor import DOCTOR, make_doctor, make_doctor_tenant, on_call, told_by
from app.delivery.audit import Audit
from app.delivery.engine import Engine
from app.delivery.first_aid import FirstAid
from app.delivery.gauges import Gauges
from app.delivery.operators import Operators
from app.delivery.pauses import Pauses
from app.doctor.doctor import Doctor
from app.doctor.trial import Mailing
from app.foretelling import Foretelling
from app.intake.intake import Delivery, Intake
from app.kit import log
from app.kit.bells import Bells
from app.kit.clock import Clock, SystemClock
from app.kit.failpoints import Failpoints
from app.kit.hardening import keep_secrets_in_memory
from app.kit.metrics import Metrics
from app.mail.message import Work
from app.queue.contract import StoreError
from app.queue.housekeeping import Housekeeper
from app.queue.sqlite import SqliteStore
from app.reloading import Adopt, Reloader, TokenLoops
from app.settings import MailboxPlan, Settings
from app.web.body import BodyLimits
from app.web.keys import KeyRing
from app.web.serving import Listener, bind
from app.web.state import Phase, State

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_CANNOT_START = 3

_SWITCH_SECONDS = 0.0001
_COLLECT_AFTER = 20_000

_log = log.get_logger("main")


@dataclass(slots=True)
class Live:
    """The configuration in force, and its keys."""

    settings: Settings
    ring: KeyRing


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: what is started, run and stopped."""

    settings: Settings
    clock: Clock
    store: SqliteStore
    engine: Engine
    sending: Sending
    pauses: Pauses
    doctor: Doctor
    housekeeper: Housekeeper
    workshop: Workshop
    adopt: Adopt
    state: State
    bells: Bells
    metrics: Metrics
    api: ASGIApp
    management: ASGIApp
    inside: Callable[[str], Inside]


async def build(
    settings: Settings,
    *,
    clock: Clock,
    failpoints: Failpoints | None = None,
    on_broken: Callable[[StoreError], None] = lambda _problem: None,
) -> Service:
    """Put a service together; only the store is opened. Raises ``StoreError`` and ``OSError``."""
    failpoints = failpoints or Failpoints()
    metrics = Metrics(CollectorRegistry(), version("postroom"))
    bells, state = Bells(), State()
    plans = settings.mailbox_plans()
    workshop = Workshop(clock, metrics)
    workshop.apply(workshop.prepare(settings, plans))
    desks = workshop.desks
    store = await SqliteStore.open(
        settings.store.url.path,  # type: ignore[union-attr]
        clock=clock,
        queue_limit=settings.store.queue_limit,
        disk_floor=settings.store.disk_floor,
        idempotency_retention=settings.server.idempotency_retention,
        reach=failpoints.reach,
        on_broken=on_broken,
    )
    live = Live(settings, settings.key_ring())
    directory = building.make_directory(plans)
    sending = building.make_sending(settings, directory, desks, store, clock, bells, metrics, failpoints)
    engine = sending.engine
    foretell = Foretelling(sending.forecaster, clock)

    async def finished(message: str, seconds: float) -> bool:
        return await _finished(store, bells, state, message, seconds)

    intake = Intake(
        store=store,
        directory=directory,
        tenants=building.make_tenants(settings) | make_doctor_tenant(settings),
        lifetime=settings.delivery.lifetime,
        clock=clock,
        delivery=Delivery(
            foretell.new, engine.note, foretell.offers_smtputf8, foretell.external, engine.senders.refused
        ),
        metrics=metrics,
        redirect_to=settings.server.redirect_all_to,
    )
    audit = Audit(store.first_aid, clock)
    operators = Operators(engine, audit, clock)
    mailing = Mailing(intake, store, engine.senders, finished, foretell.stored, clock)
    doctor = make_doctor(lambda: live.settings, lambda: workshop.tokens, engine, operators, mailing, clock)
    server = settings.server
    api = create_api(
        ApiServices(
            intake=intake,
            store=store,
            keys=lambda: live.ring,
            clock=clock,
            state=state,
            metrics=metrics,
            log=log.get_logger("web"),
            limits=BodyLimits(server.body_limit, server.body_memory, server.body_timeout.total_seconds()),
            lifetime=lambda: live.settings.delivery.lifetime,
            forecast=foretell.stored,
            changed=engine.changed,
            finished=finished,
            alive=engine.is_alive,
            networks=lambda tenant: live.settings.tenants[tenant].allowed_networks,
            trusted_proxies=server.trusted_proxies,
            failpoints=failpoints,
        )
    )
    operating = ManagementServices(
        operators=operators,
        first_aid=FirstAid(
            store=store.first_aid,
            engine=engine,
            pauses=sending.pauses,
            audit=audit,
            bells=bells,
            metrics=metrics,
            clock=clock,
            tenants=sending.share.keys(),
        ),
        forecast=foretell.stored,
        senders=engine.senders,
        probe=store.probe,
        alive=engine.is_alive,
        refresh=Gauges(metrics, store, desks, clock).refresh,
        keys=lambda: live.ring,
        clock=clock,
        state=state,
        metrics=metrics,
        log=log.get_logger("web"),
        trusted_proxies=server.trusted_proxies,
        examine=told_by(doctor),
    )
    housekeeper = Housekeeper(store, building.make_retention(settings), clock)

    def adopt(settings: Settings, plans: tuple[MailboxPlan, ...]) -> None:
        live.settings, live.ring = settings, settings.key_ring()
        directory = building.make_directory(plans)
        sending.reconfigure(settings, directory)
        tenants = building.make_tenants(settings) | make_doctor_tenant(settings)
        intake.reconfigure(directory, tenants, settings.delivery.lifetime)
        housekeeper.retention = building.make_retention(settings)

    return Service(
        settings=settings,
        clock=clock,
        store=store,
        engine=engine,
        sending=sending,
        pauses=sending.pauses,
        doctor=doctor,
        housekeeper=housekeeper,
        workshop=workshop,
        adopt=adopt,
        state=state,
        bells=bells,
        metrics=metrics,
        api=api,
        management=create_management(operating),
        inside=lambda who: create_inside(operating, who),
    )


async def _finished(store: SqliteStore, bells: Bells, state: State, message: str, seconds: float) -> bool:
    """Wait until a message is done or held, at most so long and not into the drain; whether it is."""
    closed = asyncio.create_task(state.closed())
    try:
        with bells.listen(message) as bell:
            async with asyncio.timeout(seconds):
                while await store.work(message) not in (Work.DONE, Work.HELD):
                    rung = asyncio.create_task(bell.wait())
                    await asyncio.wait({rung, closed}, return_when=asyncio.FIRST_COMPLETED)
                    rung.cancel()
                    if closed.done():
                        return False
                return True
    except TimeoutError:
        return False
    finally:
        closed.cancel()


class _Stop:
    """Hears the signals: the first asks for a drain, a second one skips the delay."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def __call__(self) -> None:
        """Take a signal."""
        (self.hurried if self.asked.is_set() else self.asked).set()


@dataclass(frozen=True, slots=True)
class Reload:
    """Where the configuration came from, and how to read it again."""

    config: Path
    load: Callable[[], Settings]


def _make_reloader(service: Service, reload: Reload, token_loops: TokenLoops) -> Reloader:
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
    )


async def run(
    service: Service, api_socket: socket.socket, management_socket: socket.socket, stop: _Stop, reload: Reload
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
    reloader = _make_reloader(service, reload, token_loops)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.ask)
    loops.append(_loop(reloader.run(), "reload"))
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
    service: Service, doors: list[Listener], token_loops: TokenLoops, stop: _Stop, *, hurried: bool
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
    stop = _Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
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
    # A loop that never idles keeps the interpreter for 5 ms at a time, and the store's writer thread waits so long at
    # each step: measured 151 accepts/s against 5,241/s.
    sys.setswitchinterval(_SWITCH_SECONDS)
    log.configure(settings.log.level, settings.log.addresses)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, reload, armed))
