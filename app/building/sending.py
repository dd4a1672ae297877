"""Turns settings into what tenants may do and into delivery over a store and its mailboxes; nothing runs yet.

Delivery, once built, goes on with other settings when it is told to (``Sending.reconfigure``).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from app.delivery.aftermath import Aftermath
from app.delivery.audit import Audit
from app.delivery.board import Board
from app.delivery.courier import Courier, Rules
from app.delivery.desks import Desks
from app.delivery.doorkeeper import Doorkeeper
from app.delivery.engine import Engine
from app.delivery.expiries import Expiries
from app.delivery.forecast import Forecaster
from app.delivery.gates import Gates
from app.delivery.parking import Parking
from app.delivery.pauses import Pauses
from app.delivery.proving import Proving
from app.delivery.recovery import Recovery
from app.delivery.reporter import Reporter
from app.delivery.rounds import Rounds
from app.delivery.routes import Routes, Turns
from app.delivery.senders import Senders
from app.delivery.settling import RetryPlan
from app.delivery.timekeeper import Timekeeper
from app.intake.rules import TenantRules
from app.kit.bells import Bells
from app.kit.clock import Clock
from app.kit.failpoints import Failpoints
from app.kit.metrics import Metrics
from app.mail.compose import date_line
from app.mail.senders import Directory
from app.queue.contract import QueueStore
from app.queue.housekeeping import Retention
from app.queue.rows import QuotaPolicy
from app.settings import MailboxPlan, Settings
from app.settings.mailboxes import Tenant

_MINUTE = 60
_DAY = 86_400


def make_directory(plans: tuple[MailboxPlan, ...]) -> Directory:
    """Return who covers which From address."""
    return Directory(plan.cover for plan in plans)


def make_tenant(name: str, tenant: Tenant) -> TenantRules:
    """Return what a tenant may do."""
    quotas = (
        QuotaPolicy("messages", "messages", tenant.limits.messages_per_minute, _MINUTE),
        QuotaPolicy("recipients", "recipients", tenant.limits.recipients_per_day, _DAY),
    )
    return TenantRules(
        name=name,
        senders=tenant.senders,
        recipients=tenant.recipients,
        priorities=tenant.granted,
        quotas=tuple(policy for policy in quotas if policy.quota),
    )


def make_tenants(settings: Settings) -> dict[str, TenantRules]:
    """Return what every tenant may do, by name."""
    return {name: make_tenant(name, tenant) for name, tenant in settings.tenants.items()}


def make_rules(settings: Settings) -> Rules:
    """Return what was promised about retries, unknown outcomes and the meaning of replies."""
    retry = RetryPlan(tuple(wait.total_seconds() for wait in settings.delivery.retry), settings.delivery.jitter)
    policies = {name: tenant.policy for name, tenant in settings.tenants.items()}
    return Rules(retry, policies, settings.catalogue())


def make_retention(settings: Settings) -> Retention:
    """Return how long things are kept."""
    kept = settings.store.content_retention
    return Retention(kept.sent, kept.other, settings.store.metadata_retention, settings.server.idempotency_retention)


@dataclass(frozen=True, slots=True)
class Sending:
    """Delivery, built: the engine and what others ask of it. ``share`` is by tenant and has every one of them."""

    engine: Engine
    forecaster: Forecaster
    recovery: Recovery
    doorkeeper: Doorkeeper
    expiries: Expiries
    pauses: Pauses
    routes: Routes
    courier: Courier
    parking: Parking
    share: dict[str, float]

    def reconfigure(self, settings: Settings, directory: Directory) -> None:
        """Go on with another configuration; the desks have been made to fit it."""
        self.share.clear()
        self.share.update(make_shares(settings))
        self.routes.reconfigure(directory)
        self.courier.rules = make_rules(settings)
        self.parking.catalogue = self.courier.rules.catalogue


def make_shares(settings: Settings) -> dict[str, float]:
    """Return each tenant's weight under a mailbox's budget."""
    return {name: float(tenant.share) for name, tenant in settings.tenants.items()}


def make_sending(
    settings: Settings,
    directory: Directory,
    desks: Desks,
    store: QueueStore,
    clock: Clock,
    bells: Bells,
    metrics: Metrics,
    failpoints: Failpoints | None = None,
) -> Sending:
    """Return delivery over a store and its mailboxes."""
    share = make_shares(settings)
    board = Board()
    routes = Routes(directory, desks)
    reporter = Reporter(metrics)
    wake = asyncio.Event()
    senders = Senders(
        store=store.senders,
        audit=Audit(store.first_aid, clock),
        routes=routes,
        clock=clock,
        reporter=reporter,
        wake=wake.set,
    )
    pauses = Pauses(store.first_aid, clock, wake.set)
    proving = Proving(desks)
    timekeeper = Timekeeper(store, clock, reporter)
    gates = Gates([pauses, senders, proving, timekeeper])
    turns = Turns(board, routes, share, gates)
    rules = make_rules(settings)
    parking = Parking(store, clock, reporter, rules.catalogue)
    chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
    courier = Courier(
        store=store,
        board=board,
        turns=turns,
        aftermath=Aftermath(desks, parking, reporter, clock),
        senders=senders,
        reporter=reporter,
        bells=bells,
        clock=clock,
        rules=rules,
        chance=chance.random,
        date_line=date_line,
        wake=wake.set,
        reach=(failpoints or Failpoints()).reach,
    )
    doorkeeper = Doorkeeper(desks, parking, proving, reporter, clock, wake.set)
    recovery = Recovery(
        store=store,
        desks=desks,
        courier=courier,
        doorkeeper=doorkeeper,
        parking=parking,
        senders=senders,
        timekeeper=timekeeper,
        clock=clock,
    )
    engine = Engine(
        store=store,
        desks=desks,
        board=board,
        turns=turns,
        gates=gates,
        rounds=Rounds(board, routes, desks),
        courier=courier,
        parking=parking,
        doorkeeper=doorkeeper,
        recovery=recovery,
        senders=senders,
        timekeeper=timekeeper,
        reporter=reporter,
        bells=bells,
        clock=clock,
        wake=wake,
    )
    forecaster = Forecaster(board, routes, share, gates, clock)
    return Sending(
        engine=engine,
        forecaster=forecaster,
        recovery=recovery,
        doorkeeper=doorkeeper,
        expiries=Expiries(desks, reporter, clock),
        pauses=pauses,
        routes=routes,
        courier=courier,
        parking=parking,
        share=share,
    )
