"""What the wire and sign-in are to delivery: figures, a password as it is looked at, the sessions of a wildcard."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.delivery.transport import Session
from app.kit.metrics import Metrics
from app.mail.credential import TokenSource
from app.mail.transaction import Content, Envelope, HandOver, Replies
from app.settings import MailboxPlan
from app.signin.expiry import BASIC_AUTH_END, Expiry
from app.smtp import Observer


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


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """A password as delivery looks at it; it changes with the configuration only."""

    mark: bytes = field(repr=False)
    expiries: tuple[Expiry, ...]

    async def inspect(self) -> None:
        """Nothing: the configuration has been read."""

    def reset(self) -> None:
        """Nothing: a password is remembered by nobody but its mailbox."""


class TokenSessions:
    """The sessions of a wildcard itself: it carries nothing, and a token is all that can be tried of it."""

    limit = 0
    features = None
    open = opened = busy = 0

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Session]:
        """Ask for a token. Raises ``ConnectTrouble`` or ``SignInRefused``; there is no session to use."""
        await self._source.token()
        yield _Nobody()

    async def tend(self) -> None:
        """Nothing stands."""

    async def close(self, timeout: float) -> None:
        """Nothing stands."""

    def abort(self) -> None:
        """Nothing stands."""


class _Nobody:
    async def submit(self, envelope: Envelope, content: Content, hand_over: HandOver) -> Replies:  # noqa: ARG002
        """Refuse: a wildcard carries no mail itself."""
        raise RuntimeError("a wildcard carries no mail itself")


def password_source(plan: MailboxPlan) -> PasswordSource:
    """Return the password of a mailbox as delivery looks at it."""
    secret = plan.password.get_secret_value() if plan.password else ""
    ends = (BASIC_AUTH_END,) if plan.connection.profile == "exchange" else ()
    return PasswordSource(hashlib.sha256(secret.encode()).digest(), ends)
