"""One authenticated session: carries one transaction after the other, and is clean between them or gone."""

from __future__ import annotations

from dataclasses import dataclass

from app.kit.log import get_logger
from app.mail.credential import AccessToken
from app.mail.transaction import Content, Envelope, HandOver, Replies
from app.smtp.observer import Observer
from app.smtp.opening import Opened
from app.smtp.target import Features, Target
from app.smtp.transaction import Transaction

_log = get_logger("smtp")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a session is replaced, in seconds of ``Clock.boot`` and of idleness."""

    idle_seconds: float
    age_seconds: float
    freshest_token_ends_at: float = 0.0


class Session:
    """See the module's promise. Instants are seconds of ``Clock.boot``. Made and owned by ``Pool``."""

    def __init__(
        self, opened: Opened, target: Target, opened_at: float, token: AccessToken | None, observe: Observer
    ) -> None:
        self.opened_at = opened_at
        self.idle_since = opened_at
        self.has_rested = False
        self.is_outdated = False  # made with a target or a credential that has been replaced
        self.token = token
        self.greeting = opened.greeting
        self.wire = opened.wire
        self.features: Features = opened.features
        self._target = target
        self._observe = observe
        self._transactions = 0

    def __repr__(self) -> str:
        state = self.wire.broken.reason if self.wire.broken else "well"
        return f"<Session with {self._target}, {state}, {self._transactions} transactions>"

    async def submit(self, envelope: Envelope, content: Content, hand_over: HandOver) -> Replies:
        """Make one transaction; see ``Transaction`` for what may be relied on. Raises nothing but cancellation.

        After anything but a clean end the session is cut, and lent no more.
        """
        transaction = Transaction(
            self.wire,
            envelope,
            self.features,
            self._target.timeouts,
            is_pipelining=self._target.pipelining and self.features.pipelining,
            has_rested=self.has_rested,
        )
        self._transactions += 1
        reason = "canceled"
        try:
            replies = await transaction.run(content, hand_over)
            reason = "confused"
        except Exception as problem:  # noqa: BLE001 - what is known about the dot must not be lost with it
            _log.exception("transaction failed by a fault of our own")
            replies = transaction.ended(f"an internal error ({type(problem).__name__})")
            reason = "internal"
        finally:
            if transaction.is_amid or not self.wire.is_settled:
                self.wire.cut(reason, "the session was left in the middle of a transaction")
        if transaction.seconds is not None:
            self._observe.transaction(*transaction.seconds)
        return replies

    def rest(self, now: float) -> None:
        """Note that it was given back."""
        self.idle_since = now
        self.has_rested = True

    def why_replace(self, now: float, lifetime: Lifetime) -> str | None:
        """Return why the session should not be lent any more (a word of ``Observer.closed``), or None."""
        if self.is_outdated:
            return "changed"
        if now - self.opened_at >= lifetime.age_seconds:
            return "age"
        if now - self.idle_since >= lifetime.idle_seconds:
            return "idle"
        if self.token is not None:
            # The margin before the end is for changing over; without a newer token there is nothing to change to.
            is_margin = now >= self.token.ends_at - self.token.margin
            if now >= self.token.ends_at or (is_margin and lifetime.freshest_token_ends_at > self.token.ends_at):
                return "token"
        return None
