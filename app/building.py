"""Turns settings into objects: sessions, desks, the engine, the intake. Each function makes one; nothing runs yet.

Belongs to ``main``, which calls it and starts what was built.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.delivery.aftermath import Aftermath
from app.delivery.board import Board
from app.delivery.courier import Courier, Rules
from app.delivery.desk import Desk, MailboxSpec
from app.delivery.engine import Engine
from app.delivery.forecast import Forecaster
from app.delivery.gates import Gates
from app.delivery.ledger import Budget, Ledger
from app.delivery.parking import Parking
from app.delivery.reporter import Reporter
from app.delivery.routes import Routes, Turns
from app.delivery.settling import RetryPlan
from app.delivery.timekeeper import Timekeeper
from app.intake.rules import TenantRules
from app.kit.bells import Bells
from app.kit.clock import Clock
from app.kit.failpoints import Failpoints
from app.kit.metrics import Metrics
from app.mail.compose import date_line
from app.mail.credential import Credential, PasswordCredential, TokenCredential
from app.mail.message import Priority
from app.mail.senders import Cover, Directory
from app.queue.contract import QueueStore
from app.queue.rows import QuotaPolicy
from app.settings import MailboxPlan, Settings
from app.settings.checks import is_covered
from app.settings.mailboxes import Tenant
from app.signin.methods import SignIn
from app.signin.tokens import Tokens, build_tokens
from app.smtp import Observer, Pool, Target, Timeouts, tls_context

_MINUTE = 60
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Figures(Observer):
    """Counts what the wire tells."""

    metrics: Metrics

    def connected(self, seconds: float, greeting: str) -> None:  # noqa: ARG002 - the interface of the wire
        """Count the time of a connection."""
        self.metrics.smtp_duration("connect").observe(seconds)

    def signed_in(self, seconds: float) -> None:
        """Count the time of a sign-in."""
        self.metrics.smtp_duration("auth").observe(seconds)

    def connect_failed(self, reason: str) -> None:
        """Nothing: delivery counts failures, by mailbox."""

    def transaction(self, envelope: float, content: float) -> None:
        """Count the time from the first command to the reply to the dot."""
        self.metrics.smtp_duration("data").observe(envelope + content)

    def closed(self, reason: str) -> None:
        """Nothing: the gauge of open sessions is read when asked for."""


def make_tokens(plans: tuple[MailboxPlan, ...], clock: Clock, metrics: Metrics) -> dict[SignIn, Tokens]:
    """Return one source of tokens for each distinct way of signing in."""
    ways = {plan.sign_in for plan in plans if plan.sign_in is not None}

    def observe(result: str) -> None:
        metrics.token_refresh(result).inc()

    return {way: build_tokens(way, clock, observe) for way in ways}


def make_desk(
    plan: MailboxPlan,
    settings: Settings,
    own_domains: frozenset[str],
    tokens: Mapping[SignIn, Tokens],
    clock: Clock,
    metrics: Metrics,
) -> Desk:
    """Return one mailbox, ready to work. Raises ``OSError`` where its extra trust cannot be read."""
    delivery, connection = settings.delivery, plan.connection
    timeouts = delivery.timeouts
    target = Target(
        host=connection.host,
        port=connection.port,
        tls=tls_context(connection.ca_file),
        pipelining=connection.pipelining,
        ehlo_name=socket.gethostname() or "postroom",
        timeouts=Timeouts(
            connect=timeouts.connect.total_seconds(),
            command=timeouts.command.total_seconds(),
            data=timeouts.data.total_seconds(),
            final=timeouts.final.total_seconds(),
        ),
    )
    pool = Pool(
        plan.name,
        target,
        _credential(plan, tokens),
        limit=plan.limits.sessions,
        idle_seconds=delivery.session_idle.total_seconds(),
        age_seconds=delivery.session_age.total_seconds(),
        clock=clock,
        observe=Figures(metrics),
    )
    spec = MailboxSpec(
        name=plan.name,
        address=str(plan.address),
        connection=plan.connection_name,
        sign_in=plan.method,
        limits=plan.limits,
        own_domains=own_domains,
        credential=lambda: _credential_mark(plan, tokens),
    )
    budget = Budget(plan.limits.messages_per_minute, plan.limits.recipients_per_day, plan.soft_stop)
    desk = Desk(spec, pool, Ledger(budget))
    desk.urgent_granted = carries_urgent(plan.cover, settings.tenants.values())
    return desk


def carries_urgent(cover: Cover, tenants: Iterable[Tenant]) -> bool:
    """Whether a tenant that was granted urgent mail may send through a mailbox."""
    urgent = [pattern for tenant in tenants if Priority.URGENT in tenant.granted for pattern in tenant.senders]
    covered = (cover.address, *cover.send_as)
    return any(is_covered(sender, own) for sender in urgent for own in covered)


def _credential(plan: MailboxPlan, tokens: Mapping[SignIn, Tokens]) -> Credential:
    username = plan.username or str(plan.address)
    if plan.sign_in is not None:
        return TokenCredential(username, tokens[plan.sign_in])
    assert plan.password is not None  # noqa: S101 - the settings have checked it
    return PasswordCredential(username, plan.password)


def _credential_mark(plan: MailboxPlan, tokens: Mapping[SignIn, Tokens]) -> bytes:
    """Return what the keyed fingerprint of a mailbox's credential is made of."""
    username = (plan.username or "").encode()
    if plan.sign_in is not None:
        return username + b"\0" + tokens[plan.sign_in].mark
    secret = plan.password.get_secret_value().encode() if plan.password else b""
    return username + b"\0" + secret


def domains_of(plans: tuple[MailboxPlan, ...], connection: str) -> frozenset[str]:
    """Return the domains that are the organisation's own as far as a connection shows."""
    mine = [plan for plan in plans if plan.connection_name == connection]
    return frozenset(pattern.domain for plan in mine for pattern in (plan.address, *plan.send_as))


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


@dataclass(frozen=True, slots=True)
class Sending:
    """Delivery, built: the engine and what others ask of it."""

    engine: Engine
    forecaster: Forecaster
    directory: Directory
    desks: Mapping[str, Desk]


def make_sending(
    settings: Settings,
    plans: tuple[MailboxPlan, ...],
    desks: Mapping[str, Desk],
    store: QueueStore,
    clock: Clock,
    bells: Bells,
    metrics: Metrics,
    failpoints: Failpoints | None = None,
) -> Sending:
    """Return delivery over a store and its mailboxes."""
    share = {name: float(tenant.share) for name, tenant in settings.tenants.items()}
    directory = make_directory(plans)
    board = Board()
    routes = Routes(directory, desks)
    gates = Gates()
    turns = Turns(board, routes, share, gates)
    reporter = Reporter(metrics)
    catalogue = settings.catalogue()
    parking = Parking(store, clock, reporter, catalogue)
    wake = asyncio.Event()
    retry = RetryPlan(tuple(wait.total_seconds() for wait in settings.delivery.retry), settings.delivery.jitter)
    chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
    courier = Courier(
        store=store,
        board=board,
        turns=turns,
        aftermath=Aftermath(desks, parking, reporter, clock),
        reporter=reporter,
        bells=bells,
        clock=clock,
        rules=Rules(retry, {name: tenant.policy for name, tenant in settings.tenants.items()}, catalogue),
        chance=chance.random,
        date_line=date_line,
        wake=wake.set,
        reach=(failpoints or Failpoints()).reach,
    )
    engine = Engine(
        store=store,
        desks=desks,
        board=board,
        turns=turns,
        gates=gates,
        courier=courier,
        parking=parking,
        timekeeper=Timekeeper(store, clock, reporter),
        reporter=reporter,
        bells=bells,
        clock=clock,
        wake=wake,
    )
    return Sending(engine, Forecaster(board, routes, share, gates, clock), directory, desks)
