"""What operators may ask of the store, and the values of it: pauses, the whole queue, what is done to it, the audit.

Plain values and one contract, reached as ``store.first_aid``; no SQL. Instants are aware UTC, ``now`` is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from app.queue.rows import LaneKey
from app.queue.views import Page

#: How a message that is not done can show itself.
OPEN_STATUSES: Final = ("scheduled", "queued", "deferred", "sending", "held")


class Deed(StrEnum):
    """What an operator does to messages."""

    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Filter:
    """What an operator's filters ask of a message that is not done; what is None is not asked.

    ``before``: accepted before this instant. As text it is what the audit tells.
    """

    tenant: str | None = None
    sender_key: str | None = None
    tag: tuple[str, str] | None = None
    status: str | None = None
    before: datetime | None = None

    def __str__(self) -> str:
        words = {
            "tenant": self.tenant,
            "from": self.sender_key,
            "tag": ":".join(self.tag) if self.tag else None,
            "status": self.status,
            "before": self.before.isoformat() if self.before else None,
        }
        return " ".join(f"{name}={word}" for name, word in words.items() if word is not None)


@dataclass(frozen=True, slots=True)
class Moved:
    """A message that an operator's word has changed.

    ``left`` says that it waited and no longer does, ``due_at`` when one that waits again is due; ``canceled`` counts
    recipients.
    """

    id: str
    tenant: str
    sender_key: str
    lane: LaneKey
    left: bool
    due_at: datetime | None
    canceled: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages the filters matched, and how many of them were changed."""

    matched: int
    changed: int


@dataclass(frozen=True, slots=True)
class Paused:
    """A tenant whose mail waits by an operator's word."""

    tenant: str
    who: str
    since: datetime


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what; ``who`` is a key's id or ``cli:USER``."""

    id: str
    at: datetime
    who: str
    action: str
    target: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of the audit, newest first, with the positions of its neighbours (None at the ends)."""

    rows: tuple[AuditRow, ...]
    next: int | None
    previous: int | None


class FirstAid(Protocol):
    """The contract; what changes something is on disk, with its row of the audit, when it returns."""

    async def pause(self, tenant: str, who: str, now: datetime) -> bool:
        """Keep that a tenant is paused; whether it was not before."""
        ...

    async def resume(self, tenant: str, who: str, now: datetime) -> bool:
        """Forget that a tenant was paused; whether it was."""
        ...

    async def paused(self) -> Sequence[Paused]:
        """Return the paused tenants."""
        ...

    async def queue(self, asked: Filter, now: datetime, limit: int, after: int | None, before: int | None) -> Page:
        """Return a page of messages of all tenants that are not done, newest first."""
        ...

    async def change(
        self, deed: Deed, asked: Filter, who: str, now: datetime, tell: Callable[[Sequence[Moved]], None]
    ) -> Tally:
        """Do something to every message that is not done, was accepted until ``now`` and fits; the oldest first.

        Works in steps that hold nobody up; ``tell`` hears of each once it is on disk. If it ends in the middle, the
        audit tells how far it came.
        """
        ...

    async def note(self, who: str, action: str, target: str, detail: str | None, now: datetime) -> None:
        """Add a row to the audit for what is not done here."""
        ...

    async def audit(self, limit: int, after: int | None, before: int | None) -> AuditPage:
        """Return a page of the audit, newest first."""
        ...
