"""Turns the settings of mailboxes into desks: what they sign in with, their sessions, their windows; anew at a reload.

A wildcard becomes a desk that carries nothing, and a way to make the desk of each mailbox that it signs in as.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

from app.building.sources import Figures, TokenSessions, password_source
from app.delivery.desk import Desk, MailboxSpec
from app.delivery.desks import Desks
from app.delivery.ledger import Budget, Ledger
from app.delivery.transport import Sessions
from app.kit.clock import Clock
from app.kit.metrics import Metrics
from app.mail.credential import Credential, PasswordCredential, TokenCredential
from app.mail.message import Priority
from app.mail.senders import Cover
from app.settings import MailboxPlan, Settings
from app.settings.checks import is_covered
from app.settings.mailboxes import Tenant
from app.signin.methods import SignIn
from app.signin.tokens import Tokens, build_tokens
from app.smtp import Pool, Target, Timeouts, tls_context


@dataclass(frozen=True, slots=True)
class Making:
    """What a configuration asks for: a maker for each mailbox, and every source of tokens that they use."""

    makers: Mapping[str, DeskMaker]
    tokens: Mapping[SignIn, Tokens]


@dataclass(frozen=True, slots=True)
class Remade:
    """What became of desks and tokens.

    ``renamed``, which are among ``added``, go on with ledger and sessions of one that was removed; the others' ledgers
    are empty yet. ``ended`` are the removed ones whose sessions nobody uses any more.
    """

    added: tuple[Desk, ...]
    removed: tuple[Desk, ...]
    renamed: tuple[Desk, ...]
    ended: tuple[Desk, ...]
    tokens_added: tuple[Tokens, ...]
    tokens_removed: tuple[Tokens, ...]


class Workshop:
    """Makes the desks of a configuration, and makes the same desks fit the next one.

    What has not changed is left alone: sessions stay warm, tokens stay. A mailbox that goes on under another connection
    or credential keeps its ledger and its limits, and changes its sessions one by one.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._making = Making({}, {})
        self.desks = Desks((), clock.boot)

    @property
    def tokens(self) -> Mapping[SignIn, Tokens]:
        """Every source of tokens in use."""
        return self._making.tokens

    def prepare(self, settings: Settings, plans: tuple[MailboxPlan, ...]) -> Making:
        """Return what a configuration asks for; changes nothing. Raises ``OSError`` and ``ImportError``."""

        def observe(result: str) -> None:
            self._metrics.token_refresh(result).inc()

        ways = {plan.sign_in for plan in plans if plan.sign_in is not None}
        tokens = {way: self.tokens.get(way) or build_tokens(way, self._clock, observe) for way in ways}
        makers = {
            plan.name: DeskMaker(
                plan,
                settings,
                domains_of(plans, plan),
                None if plan.sign_in is None else tokens[plan.sign_in],
                self._clock,
                self._metrics,
            )
            for plan in plans
        }
        return Making(makers, tokens)

    def newcomers(self, making: Making) -> Set[str]:
        """Return the names of the mailboxes whose desks would be new: also where the address is another one now."""
        before = self._making.makers
        return {name for name, maker in making.makers.items() if not maker.is_like(before.get(name))}

    def apply(self, making: Making) -> Remade:
        """Make the desks fit; at once, without a pause in which both configurations hold."""
        stay = making.makers.keys() - self.newcomers(making)
        before, self._making = self._making, making
        removed = [desk for desk in self.desks.values() if desk.spec.configured not in stay]
        for desk in removed:
            del self.desks[desk.spec.name]
        for desk in self.desks.values():
            making.makers[desk.spec.configured].remake(desk, before.makers[desk.spec.configured])
        # Exchange counts by address: under another name it is the same mailbox.
        former = {desk.spec.address: desk for desk in removed if isinstance(desk.sessions, Pool) and not desk.umbrella}
        added, renamed, ended = [], [], list(removed)
        for maker in (maker for name, maker in making.makers.items() if name not in stay):
            desk = maker.desk()
            if (old := former.pop(desk.spec.address, None)) is not None:
                desk.sessions, desk.ledger = old.sessions, old.ledger
                maker.remake(desk, before.makers[old.spec.name])
                renamed.append(desk)
                ended.remove(old)
            added.append(desk)
        self.desks.update((desk.spec.name, desk) for desk in added)
        self.desks.factories = {name: maker.desk_as for name, maker in making.makers.items() if maker.is_wildcard}
        return Remade(
            tuple(added),
            tuple(removed),
            tuple(renamed),
            tuple(ended),
            tuple(each for way, each in making.tokens.items() if way not in before.tokens),
            tuple(each for way, each in before.tokens.items() if way not in making.tokens),
        )


class DeskMaker:
    """Makes the desk of one configured mailbox, or of each that a wildcard signs in as."""

    def __init__(
        self,
        plan: MailboxPlan,
        settings: Settings,
        own_domains: frozenset[str],
        tokens: Tokens | None,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        delivery, ca_file = settings.delivery, plan.connection.ca_file
        self.plan = plan
        self._own_domains = own_domains
        self._tokens = tokens
        self._clock = clock
        self._observer = Figures(metrics)
        self._urgent = carries_urgent(plan.cover, settings.tenants.values())
        self._idle_seconds = delivery.session_idle.total_seconds()
        self._age_seconds = delivery.session_age.total_seconds()
        # What sessions are made with: as long as it stays the same, they stay warm.
        trust = ca_file.read_bytes() if ca_file is not None else b""
        way = (plan.connection.host, plan.connection.port, plan.connection.pipelining, trust, delivery.timeouts)
        self._session_mark = (*way, plan.username, plan.password, tokens, self._idle_seconds, self._age_seconds)
        self._target = _target(plan, settings)

    @property
    def is_wildcard(self) -> bool:
        """Whether it signs in as each From address of a domain."""
        return self.plan.address.is_wildcard

    def is_like(self, other: DeskMaker | None) -> bool:
        """Whether another maker made desks of the same kind, which may go on as this one's."""
        return other is not None and other.plan.address == self.plan.address

    def desk(self) -> Desk:
        """Return the desk of the mailbox itself."""
        plan = self.plan
        spec = self._spec(plan.name, str(plan.address), None)
        sessions: Sessions
        if self.is_wildcard and self._tokens is not None:
            sessions = TokenSessions(self._tokens)
        else:
            sessions = self._pool(spec, lambda: False)
        return self._desk(spec, sessions, None)

    def desk_as(self, umbrella: Desk, name: str, address: str) -> Desk:
        """Return the desk of a mailbox that the wildcard signs in as."""
        spec = self._spec(name, address, name.partition("/")[2])
        return self._desk(spec, self._pool(spec, lambda: umbrella.is_token_good), umbrella)

    def remake(self, desk: Desk, before: DeskMaker) -> None:
        """Make a desk that another maker of its kind has made fit this one."""
        spec = self._spec(desk.spec.name, desk.spec.address, desk.spec.sender_key)
        desk.reconfigure(spec, self._budget(), self._clock.boot())
        desk.urgent_granted = self._urgent
        if self._session_mark == before._session_mark:
            return
        desk.connected()
        if isinstance(desk.sessions, Pool):
            desk.sessions.renew(
                self._target,
                self._credential(spec.username),
                idle_seconds=self._idle_seconds,
                age_seconds=self._age_seconds,
            )
        elif self._tokens is not None:
            desk.sessions = TokenSessions(self._tokens)

    def _spec(self, name: str, address: str, sender_key: str | None) -> MailboxSpec:
        plan = self.plan
        return MailboxSpec(
            name=name,
            address=address,
            connection=plan.connection_name,
            sign_in=plan.method,
            limits=plan.limits,
            own_domains=self._own_domains,
            source=self._tokens or password_source(plan),
            username=plan.username or address,
            sender_key=sender_key,
        )

    def _budget(self) -> Budget:
        limits = self.plan.limits
        return Budget(limits.messages_per_minute, limits.recipients_per_day, self.plan.soft_stop)

    def _desk(self, spec: MailboxSpec, sessions: Sessions, umbrella: Desk | None) -> Desk:
        desk = Desk(spec, sessions, Ledger(self._budget()), umbrella)
        desk.urgent_granted = self._urgent
        return desk

    def _pool(self, spec: MailboxSpec, is_token_good: Callable[[], bool]) -> Pool:
        return Pool(
            spec.name,
            self._target,
            self._credential(spec.username),
            limit=self.plan.limits.sessions,
            idle_seconds=self._idle_seconds,
            age_seconds=self._age_seconds,
            clock=self._clock,
            observe=self._observer,
            is_token_good=is_token_good,
        )

    def _credential(self, username: str) -> Credential:
        if self._tokens is not None:
            return TokenCredential(username, self._tokens)
        assert self.plan.password is not None  # noqa: S101 - the settings have checked it
        return PasswordCredential(username, self.plan.password)


def _target(plan: MailboxPlan, settings: Settings) -> Target:
    connection, timeouts = plan.connection, settings.delivery.timeouts
    return Target(
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


def carries_urgent(cover: Cover, tenants: Iterable[Tenant]) -> bool:
    """Whether a tenant that was granted urgent mail may send through a mailbox."""
    urgent = [pattern for tenant in tenants if Priority.URGENT in tenant.granted for pattern in tenant.senders]
    covered = (cover.address, *cover.send_as)
    return any(is_covered(sender, own) for sender in urgent for own in covered)


def domains_of(plans: tuple[MailboxPlan, ...], plan: MailboxPlan) -> frozenset[str]:
    """Return the domains that are the organisation's own as far as the connection of a mailbox shows."""
    mine = [each for each in plans if each.connection_name == plan.connection_name]
    return frozenset(pattern.domain for each in mine for pattern in (each.address, *each.send_as))
