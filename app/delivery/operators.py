"""What operators see of the mailboxes and may do to them: state, pace, forecast; park and resume.

Values only; the door and the command line give them their form.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.delivery.audit import Audit
from app.delivery.desk import Desk, Refusal
from app.delivery.engine import Engine
from app.delivery.parking import BY_OPERATOR
from app.kit.clock import Clock
from app.queue.rows import ParkedRow


@dataclass(frozen=True, slots=True)
class SignIn:
    """How a mailbox signs in, and until when its credential will do, where that is known."""

    method: str
    days_left: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MailboxView:
    """A mailbox as shown to operators; ``minute`` and ``day`` are (used, limit), a limit of 0 means none."""

    name: str
    address: str
    state: str
    parked: ParkedRow | None
    sign_in: SignIn
    sessions_open: int
    sessions_busy: int
    sessions_limit: int
    minute: tuple[int, int]
    day: tuple[int, int]
    day_forecast_at: datetime | None
    last_success_at: datetime | None
    last_refusal: Refusal | None


class UnknownMailbox(Exception):
    """There is no mailbox of that name."""


class Operators:
    """The operators' view of one process's mailboxes."""

    def __init__(self, engine: Engine, audit: Audit, clock: Clock) -> None:
        self._engine = engine
        self._audit = audit
        self._clock = clock

    def mailboxes(self) -> list[MailboxView]:
        """Return every mailbox, by name."""
        return [self._view(desk) for _, desk in sorted(self._engine.desks.items())]

    def mailbox(self, name: str) -> MailboxView:
        """Return one mailbox; raises ``UnknownMailbox``."""
        return self._view(self._desk(name))

    async def park(self, name: str, who: str) -> MailboxView:
        """Let a mailbox stand still until somebody resumes it."""
        desk = self._desk(name)
        await self._audit.note(who, "mailbox.park", name)
        await self._engine.park(
            desk.spec.name, BY_OPERATOR, f"parked by {who}", f"resume it when it may send again: mailbox resume {name}"
        )
        return self._view(desk)

    async def resume(self, name: str, who: str) -> MailboxView:
        """Let a mailbox work again, whatever it was parked for."""
        desk = self._desk(name)
        await self._audit.note(who, "mailbox.resume", name)
        await self._engine.resume(desk.spec.name, who)
        return self._view(desk)

    def _desk(self, name: str) -> Desk:
        desk = self._engine.desks.get(name)
        if desk is None:
            raise UnknownMailbox(name)
        return desk

    def _view(self, desk: Desk) -> MailboxView:
        now, boot = self._clock.now(), self._clock.boot()
        room_at = desk.ledger.day_room_at(boot)
        return MailboxView(
            name=desk.spec.name,
            address=desk.spec.address,
            state=desk.state(),
            parked=desk.standing_still,
            sign_in=_sign_in(desk, now),
            sessions_open=desk.sessions.open,
            sessions_busy=desk.sessions.busy,
            sessions_limit=desk.session_limit(boot),
            minute=(desk.ledger.minute_used(boot), desk.ledger.budget.per_minute),
            day=(desk.ledger.day_used(boot), desk.ledger.budget.per_day),
            day_forecast_at=now + timedelta(seconds=room_at - boot) if room_at is not None else None,
            last_success_at=desk.last_success_at,
            last_refusal=desk.last_refusal,
        )


def _sign_in(desk: Desk, now: datetime) -> SignIn:
    """Return how a mailbox signs in, with the first of its credential's ends."""
    ends = min(desk.spec.source.expiries, key=lambda each: each.at, default=None)
    return SignIn(desk.spec.sign_in) if ends is None else SignIn(desk.spec.sign_in, ends.days_left(now), ends.at)
