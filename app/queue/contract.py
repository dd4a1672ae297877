"""What the rest of the product may ask of the store.

Two engines are meant to keep this promise; the same suite runs on both. Every method that changes something returns
only when the change is on disk. A write names the state it expects, and "no row" is an answer (a lost claim), not an
error. ``now`` is always handed in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.mail.message import Work
from app.queue.first_aid import FirstAid
from app.queue.rows import (
    Accepted,
    ClockSeen,
    Expired,
    KeyReused,
    LaneState,
    LedgerRow,
    NewMessage,
    OpenAttempt,
    OverQuota,
    ParkedRow,
    Picked,
    PickRequest,
    QuotaPolicy,
    QuotaState,
    Replayed,
    Settled,
    Settlement,
)
from app.queue.sender_rows import SenderRecords, SenderRow
from app.queue.views import Change, Counts, EventView, ListQuery, MessageView, Page


class StoreError(Exception):
    """The store could not do it; the message is a sentence for people, ``reason`` the problem's word
    (``queue-full disk-full storage-unavailable commit-uncertain``).

    While opening, the reason is ``store-locked`` or ``migration-failed``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class SenderStore(Protocol):
    """What is kept of senders for the breaker; what an attempt changes is written by ``QueueStore.settle``."""

    async def read(self, now: datetime) -> SenderRecords:
        """Return everything that is kept and not over (at start)."""
        ...

    async def release(self, sender: SenderRow) -> None:
        """Keep a sender's new start, and forget the addresses it learnt."""
        ...


class QueueStore(Protocol):
    """The contract; see the module's promise. ``first_aid`` is what operators may ask of the store."""

    @property
    def first_aid(self) -> FirstAid:
        """Return the operators' side of the store."""
        ...

    @property
    def senders(self) -> SenderStore:
        """What is kept of senders."""
        ...

    async def stage(self, message: str, no: int, chunk: bytes) -> None:
        """Keep one chunk of a message that is still arriving; ``no`` orders the chunks and may have gaps."""
        ...

    async def unstage(self, message: str) -> None:
        """Drop the staged chunks of a message that will not be accepted."""
        ...

    async def accept(self, new: NewMessage) -> Accepted | Replayed | KeyReused | OverQuota:
        """Store a message, its recipients, content, key and first event in one transaction.

        Raises ``StoreError``; after ``commit-uncertain`` the message may or may not be there.
        """
        ...

    async def quotas(self, tenant: str, policies: Sequence[QuotaPolicy], now: datetime) -> Sequence[QuotaState]:
        """Return what is left of a tenant's windows, and when one unit has room."""
        ...

    async def replay(
        self, tenant: str, route: str, key: str, fingerprint: bytes, now: datetime
    ) -> Replayed | KeyReused | None:
        """Look an idempotency key up before composing; None: unknown or past its retention."""
        ...

    # -- sending

    async def lanes(self) -> Sequence[LaneState]:
        """Return every lane with waiting messages, once, at start."""
        ...

    async def pick(self, request: PickRequest) -> Picked:
        """Claim due messages, the oldest due first: attempt rows written, messages sending, pending recipients only."""
        ...

    async def mark(self, attempt: int, now: datetime) -> bool:
        """Commit the hand-over mark: only while the attempt is open and unmarked, the message sending and not past
        ``expires_at``. False: never a dot.
        """
        ...

    async def settle(self, settlement: Settlement) -> Settled:
        """End an attempt; results, counts, next due time and events in one transaction.

        A recipient takes the stated result if it is still pending or unknown by this attempt, and no later attempt is
        marked (late truth); else the words are kept with the attempt only. Raises ``StoreError`` for no such attempt.
        """
        ...

    def content(self, message: str) -> AsyncIterator[bytes]:
        """Yield the chunks of a message's content in order, one at a time in memory."""
        ...

    async def open_attempts(self) -> Sequence[OpenAttempt]:
        """Return the attempts without outcome (recovery at start)."""
        ...

    async def ledger_rows(self, since: datetime) -> Sequence[LedgerRow]:
        """Return the attempts that began or ended after ``since``."""
        ...

    async def expire(self, now: datetime, limit: int) -> Sequence[Expired]:
        """End pending recipients of waiting messages whose ``expires_at`` has come, oldest first, a bounded batch."""
        ...

    async def next_expiry(self) -> datetime | None:
        """Return when the next waiting message expires."""
        ...

    async def clock_seen(self) -> ClockSeen | None:
        """Return how the clocks stood to each other when last kept."""
        ...

    async def see_clock(self, clocks: ClockSeen) -> None:
        """Keep how the clocks stand to each other."""
        ...

    async def move_due(self, after: datetime, by: timedelta) -> int:
        """Move the due times that lie after an instant, but for those a caller named; how many were moved."""
        ...

    # -- by request

    async def cancel(self, tenant: str, message: str, now: datetime) -> Change | None:
        """Cancel every pending recipient unless a hand-over mark is committed. None: no such message of the tenant."""
        ...

    async def resolve(self, tenant: str, message: str, sent: bool, now: datetime) -> Change | None:
        """Settle every unknown recipient by a person's word: sent, or pending and queued. ``reason`` is
        ``nothing-to-resolve`` or ``content-erased`` (not sent, and nothing left to send) where nothing was done.
        """
        ...

    async def reschedule(
        self, tenant: str, message: str, at: datetime, expires_at: datetime, now: datetime
    ) -> Change | None:
        """Move ``scheduled_at`` of a message no attempt of which has begun."""
        ...

    async def retry(self, tenant: str, message: str, now: datetime, expires_at: datetime) -> Change | None:
        """Queue rejected, expired and canceled recipients again, for the time a caller named if that lies ahead (the
        lifetime then begins there). ``reason`` is ``content-erased`` or ``nothing-to-retry`` where nothing was done.
        """
        ...

    # -- reading

    async def message(self, tenant: str, message: str) -> MessageView | None:
        """Return a message of this tenant."""
        ...

    async def work(self, message: str) -> Work | None:
        """Return the state of a message's work; None: no such message."""
        ...

    async def messages(self, query: ListQuery) -> Page:
        """Return a page of a tenant's messages."""
        ...

    async def events(self, tenant: str, message: str) -> Sequence[EventView] | None:
        """Return the timeline of a message, oldest first. None: no such message of the tenant."""
        ...

    async def counts(self) -> Counts:
        """Return how full the store is."""
        ...

    async def probe(self) -> str | None:
        """Try a commit; None when it went well, else the word of what is in the way (``queue-full`` …)."""
        ...

    # -- mailboxes

    async def parked(self) -> Sequence[ParkedRow]:
        """Return the parked mailboxes."""
        ...

    async def park(self, row: ParkedRow) -> None:
        """Keep that a mailbox is parked (or what changed about it)."""
        ...

    async def release(self, mailbox: str) -> bool:
        """Forget that a mailbox was parked; whether it was."""
        ...

    async def fingerprint_key(self) -> bytes:
        """Return the secret that keys credential fingerprints, made once for each store."""
        ...

    # -- housekeeping

    async def erase_content(self, now: datetime, sent: timedelta, other: timedelta, limit: int) -> int:
        """Erase content of done messages past its retention; how many messages were done, at most ``limit``."""
        ...

    async def forget(self, now: datetime, metadata: timedelta, idempotency: timedelta, limit: int) -> int:
        """Delete done messages and idempotency keys past their retention; how many rows, at most ``limit``."""
        ...

    async def close(self) -> None:
        """Finish what waits, close, and give the lock back."""
        ...
