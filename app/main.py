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
from datetime import datetime
from importlib.metadata import version
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app import building
from app.api.doors import create_api, create_management
from app.api.mailboxes import mailbox_view
from app.api.services import ApiServices, ManagementServices
from app.delivery.engine import Engine
from app.delivery.forecast import Forecaster
from app.delivery.gauges import Gauges
from app.delivery.operators import Operators
from app.intake.intake import Delivery, Intake
from app.intake.outcome import Forecast, WaitingFor
from app.kit import log
from app.kit.bells import Bells
from app.kit.clock import Clock, SystemClock
from app.kit.failpoints import Failpoints
from app.kit.hardening import keep_secrets_in_memory
from app.kit.metrics import Metrics
from app.mail.message import Priority, Work
from app.queue.contract import StoreError
from app.queue.housekeeping import Housekeeper, Retention
from app.queue.sqlite import SqliteStore
from app.queue.views import MessageView
from app.settings import Settings
from app.signin.tokens import Tokens
from app.web.body import BodyLimits
from app.web.serving import Listener, bind
from app.web.state import Phase, State

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_CANNOT_START = 3

_SWITCH_SECONDS = 0.0001

_log = log.get_logger("main")


@dataclass(frozen=True, slots=True)
class Service:
    """A built service: what is started, run and stopped."""

    settings: Settings
    clock: Clock
    store: SqliteStore
    engine: Engine
    housekeeper: Housekeeper
    tokens: tuple[Tokens, ...]
    state: State
    bells: Bells
    api: ASGIApp
    management: ASGIApp


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
    tokens = building.make_tokens(plans, clock, metrics)
    desks = {
        plan.name: building.make_desk(
            plan, settings, building.domains_of(plans, plan.connection_name), tokens, clock, metrics
        )
        for plan in plans
    }
    store = await SqliteStore.open(
        settings.store.url.path,  # type: ignore[union-attr]
        clock=clock,
        queue_limit=settings.store.queue_limit,
        disk_floor=settings.store.disk_floor,
        idempotency_retention=settings.server.idempotency_retention,
        reach=failpoints.reach,
        on_broken=on_broken,
    )
    sending = building.make_sending(settings, plans, desks, store, clock, bells, metrics, failpoints)
    engine = sending.engine
    foretell = Foretelling(sending.forecaster, clock)
    tenants = {name: building.make_tenant(name, tenant) for name, tenant in settings.tenants.items()}
    intake = Intake(
        store=store,
        directory=sending.directory,
        tenants=tenants,
        lifetime=settings.delivery.lifetime,
        clock=clock,
        delivery=Delivery(foretell.new, engine.note, foretell.offers_smtputf8),
        metrics=metrics,
    )
    ring = settings.key_ring()
    server = settings.server
    api = create_api(
        ApiServices(
            intake=intake,
            store=store,
            keys=lambda: ring,
            clock=clock,
            state=state,
            metrics=metrics,
            log=log.get_logger("web"),
            limits=BodyLimits(server.body_limit, server.body_memory, server.body_timeout.total_seconds()),
            lifetime=settings.delivery.lifetime,
            forecast=foretell.stored,
            changed=engine.changed,
            finished=lambda message, seconds: _finished(store, bells, state, message, seconds),
            alive=engine.is_alive,
            networks=lambda tenant: settings.tenants[tenant].allowed_networks,
            trusted_proxies=server.trusted_proxies,
            failpoints=failpoints,
        )
    )
    management = create_management(
        ManagementServices(
            operators=Operators(engine, clock),
            probe=store.probe,
            alive=engine.is_alive,
            refresh=Gauges(metrics, store, desks, clock).refresh,
            keys=lambda: ring,
            clock=clock,
            state=state,
            metrics=metrics,
            log=log.get_logger("web"),
            trusted_proxies=server.trusted_proxies,
        )
    )
    kept = settings.store.content_retention
    retention = Retention(kept.sent, kept.other, settings.store.metadata_retention, server.idempotency_retention)
    return Service(
        settings=settings,
        clock=clock,
        store=store,
        engine=engine,
        housekeeper=Housekeeper(store, retention, clock),
        tokens=tuple(tokens.values()),
        state=state,
        bells=bells,
        api=api,
        management=management,
    )


class Foretelling:
    """Gives delivery's outlook the form in which intake and API tell it."""

    def __init__(self, forecaster: Forecaster, clock: Clock) -> None:
        self._forecaster = forecaster
        self._clock = clock

    def new(self, tenant: str, sender_key: str, priority: Priority, due: datetime) -> Forecast:
        """Return the forecast of a message about to be accepted."""
        return self._told(tenant, sender_key, priority, due)

    def stored(self, view: MessageView) -> Forecast:
        """Return the forecast of a stored message."""
        if view.work is Work.HELD:
            return Forecast(None, WaitingFor("held", "it waits for a person to decide"))
        if view.work not in (Work.QUEUED, Work.DEFERRED) or view.due_at is None:
            return Forecast(None, None)
        forecast = self._told(view.tenant, view.sender_key, view.priority, view.due_at)
        if view.work is Work.DEFERRED and view.due_at > self._clock.now():
            until = max(view.due_at, forecast.send_at) if forecast.send_at else None
            if forecast.waiting_for is None or forecast.waiting_for.code == "scheduled":
                waiting = WaitingFor("retry-wait", "the next try comes after a wait", view.due_at)
                return Forecast(until, waiting)
        return forecast

    def _told(self, tenant: str, sender_key: str, priority: Priority, due: datetime) -> Forecast:
        outlook = self._forecaster.outlook(tenant, sender_key, priority, due)
        if outlook.code is None or outlook.text is None:
            return Forecast(outlook.send_at, None)
        return Forecast(outlook.send_at, WaitingFor(outlook.code, outlook.text, outlook.until))

    def offers_smtputf8(self, sender_key: str) -> bool | None:
        """Return whether the next hop takes addresses outside ASCII, None where no session has told yet."""
        return self._forecaster.offers_smtputf8(sender_key)


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


async def run(service: Service, api_socket: socket.socket, management_socket: socket.socket, stop: _Stop) -> int:
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
    for source in service.tokens:
        await source.inspect()
    await service.engine.start()
    loops = [_loop(source.run(), source.name) for source in service.tokens]
    loops += [_loop(service.engine.run(), "delivery"), _loop(service.housekeeper.run(), "housekeeping")]
    # What has been built lives as long as the process: a full collection that looked through all of it would stop the
    # loop for 30 ms, again and again.
    gc.collect()
    gc.freeze()
    service.state.enter(Phase.SERVING)
    _log.info("serving", listen=str(server.listen), management_listen=str(server.management_listen))
    asked = asyncio.create_task(stop.asked.wait())
    await asyncio.wait({asked, *loops}, return_when=asyncio.FIRST_COMPLETED)
    code = EXIT_DONE
    for loop in loops:
        if loop.done():
            code = EXIT_FAILED
            _log.error("a loop ended", task=loop.get_name(), exc_info=loop.exception())
    await _drain(service, doors, stop, hurried=code != EXIT_DONE)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, asked, return_exceptions=True)
    await service.store.close()
    _log.info("stopped", exit_code=code)
    return code


def _loop(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name=name)


async def _drain(service: Service, doors: list[Listener], stop: _Stop, *, hurried: bool) -> None:
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
    await service.engine.stop(server.drain_timeout.total_seconds())
    await asyncio.gather(*closing, *(source.close() for source in service.tokens))


async def _serve(settings: Settings, failpoints: Failpoints) -> int:
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
    code = await run(service, api_socket, management_socket, stop)
    return EXIT_FAILED if service.store.broken else code


async def at_rest(settings: Settings, mailbox: str, action: str) -> dict[str, Any]:
    """See to a mailbox while no service runs, under the store's lock: ``park``, ``resume``, or "" to list all.

    Returns what the management listener would. Raises ``StoreError``.
    """
    log.configure("error", settings.log.addresses, sys.stderr)
    service = await build(settings, clock=SystemClock())
    try:
        for source in service.tokens:
            await source.inspect()
        await service.engine.read_parked()
        operators = Operators(service.engine, service.clock)
        who = f"cli:{getpass.getuser()}"
        if action == "park":
            return mailbox_view(await operators.park(mailbox, who))
        if action == "resume":
            return mailbox_view(await operators.resume(mailbox, who))
        data = [mailbox_view(view) for view in operators.mailboxes()]
        return {"object": "list", "has_more": False, "data": data}
    finally:
        await service.store.close()


def _cannot_start(what: str, problem: Exception) -> int:
    print(f"postroom: cannot start: {what}: {problem}", file=sys.stderr)
    return EXIT_CANNOT_START


def serve(settings: Settings, *, failpoints: str = "") -> int:
    """Run the service of ``settings`` in this process until SIGTERM or SIGINT; returns the exit code.

    ``failpoints`` is the text of ``POSTROOM_FAILPOINTS`` (development only); raises ``ValueError`` for a wrong one.
    """
    armed = Failpoints(failpoints)
    keep_secrets_in_memory()
    # A loop that never idles keeps the interpreter for 5 ms at a time, and the store's writer thread waits so long at
    # each step: measured 151 accepts/s against 5,241/s.
    sys.setswitchinterval(_SWITCH_SECONDS)
    log.configure(settings.log.level, settings.log.addresses)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, armed))
