"""Puts a service together, from settings to the applications that the doors serve; each object once, nothing runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app.api.doors import create_api, create_inside, create_management
from app.api.inside import Inside
from app.api.services import ApiServices, ManagementServices
from app.building import sending as building
from app.building.desks import Workshop
from app.building.doctor import make_doctor, make_doctor_tenant, told_by
from app.building.foretelling import Foretelling
from app.building.reloading import Adopt
from app.building.sending import Sending
from app.delivery.audit import Audit
from app.delivery.engine import Engine
from app.delivery.first_aid import FirstAid
from app.delivery.gauges import Gauges
from app.delivery.operators import Operators
from app.delivery.pauses import Pauses
from app.doctor.doctor import Doctor
from app.doctor.trial import Mailing
from app.intake.intake import Delivery, Intake
from app.kit import log
from app.kit.bells import Bells
from app.kit.clock import Clock
from app.kit.failpoints import Failpoints
from app.kit.metrics import Metrics
from app.mail.message import Work
from app.queue.contract import StoreError
from app.queue.housekeeping import Housekeeper
from app.queue.sqlite import SqliteStore
from app.settings import MailboxPlan, Settings
from app.web.body import BodyLimits
from app.web.keys import KeyRing
from app.web.state import State


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
                    try:
                        await asyncio.wait({rung, closed}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        rung.cancel()  # also when the time is over or the caller has gone
                    if closed.done():
                        return False
                return True
    except TimeoutError:
        return False
    finally:
        closed.cancel()
