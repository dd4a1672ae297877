"""The store's values for reading: messages as they are shown, timelines, pages, and how full it is.

Plain and frozen; no SQL, no engine. Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.mail.message import AttemptOutcome, Kind, Priority, Result, Work
from app.mail.reply import Reply
from app.queue.rows import LaneKey


@dataclass(frozen=True, slots=True)
class RecipientView:
    """A recipient as shown."""

    address: str
    kind: Kind
    result: Result
    reply: Reply | None
    cause: str | None
    cure: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """An attempt as shown; ``outcome`` None while it runs."""

    number: int
    mailbox: str
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome | None
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as shown, with everything the status is computed from.

    ``ahead``: how many of its lane go before it while it waits; None: not counted so far.
    """

    id: str
    tenant: str
    work: Work
    sender: str
    sender_key: str
    subject: str
    message_id: str
    created_at: datetime
    scheduled_at: datetime | None
    due_at: datetime | None
    expires_at: datetime
    priority: Priority
    size: int
    is_test: bool
    tries: int
    tags: tuple[tuple[str, str], ...]
    metadata: Mapping[str, str]
    recipients: tuple[RecipientView, ...]
    attempts: tuple[AttemptView, ...]
    lane: LaneKey
    content_erased: bool
    ahead: int | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """One line of a message's timeline; append-only. ``type`` without the ``message.`` in front."""

    id: int
    type: str
    at: datetime
    attempt: int | None
    recipient: str | None
    reply: Reply | None
    cause: str | None
    cure: str | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filters of a listing, newest first; ``after``/``before`` are positions (exclusive), never both."""

    tenant: str
    now: datetime
    limit: int = 20
    after: int | None = None
    before: int | None = None
    status: str | None = None
    to_key: str | None = None
    sender_key: str | None = None
    tag: tuple[str, str] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of messages with the positions of its neighbours (None at the ends)."""

    messages: tuple[MessageView, ...]
    next: int | None
    previous: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How full the store is."""

    by_work: Mapping[Work, int]
    oldest_waiting: datetime | None
    file_bytes: int
    free_bytes: int  # within the file, for reuse
    disk_free_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """The answer to a request to change a message: the message as it is now, and whether anything was done."""

    message: MessageView
    done: bool
    due: bool = False  # something waits again: the lane must be looked at
    reason: str | None = field(default=None)
