"""The store on SQLite: one file, one process, one writer thread, readers beside it.

Opening takes the lock, moves whatever the last process left in the log into the main file (by fresh writes, synced, so
that nothing rests on what the system's memory pretends), brings the schema up to date, and only then serves. What a
method promises stands in ``QueueStore``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from app.kit.clock import Clock
from app.mail.message import Work
from app.queue import keep, listing, mailboxes, pick, reading, requests, settle, timekeeping, upkeep
from app.queue.accept import Intake, unstage
from app.queue.codec import instant, micros, span
from app.queue.company import Company
from app.queue.contract import StoreError
from app.queue.disk import Disk
from app.queue.engine import Opened, open_file, open_reader
from app.queue.memory import quotas_of
from app.queue.readers import Readers
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
from app.queue.senders import SqliteSenders
from app.queue.sqlite_first_aid import SqliteFirstAid
from app.queue.views import Change, Counts, EventView, ListQuery, MessageView, Page
from app.queue.writer import Observe, Reach, Writer

_READERS: Final = 2


def _nothing(*_args: object) -> None:
    """Hear what nobody asked for."""


class SqliteStore:
    """Keeps the promise of ``QueueStore`` on one SQLite file; open it with ``open``."""

    def __init__(
        self,
        opened: Opened,
        vfs: str | None,
        writer: Writer,
        readers: Readers,
        intake: Intake,
        disk: Disk,
        company: Company,
    ) -> None:
        self._opened = opened
        self._vfs = vfs
        self._writer = writer
        self._readers = readers
        self._intake = intake
        self.senders = SqliteSenders(writer, readers)
        self._disk = disk
        self._company = company
        self.first_aid = SqliteFirstAid(writer, readers)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._opened.path.name} {self._writer!r} {self._readers!r}>"

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        queue_limit: int,
        disk_floor: int,
        idempotency_retention: timedelta = timedelta(hours=24),
        observe: Observe = _nothing,
        reach: Reach = _nothing,
        on_broken: Callable[[StoreError], None] = _nothing,
        vfs: str | None = None,
    ) -> SqliteStore:
        """Open the store at ``path``, a new one if there is none.

        ``queue_limit`` in messages and ``disk_floor`` in octets; 0 means none. ``observe`` hears, in the writer's
        thread, of each batch (jobs, seconds); ``on_broken``, on the loop, that the store has failed for good and the
        process should end. ``reach`` is called in the writer's thread at ``<kind>-before-commit`` and
        ``<kind>-after-commit`` (kinds: ``accept pick mark settle …``), for crash tests; ``vfs`` names a registered VFS.
        Raises ``StoreLocked``, ``MigrationFailed`` or another ``StoreError`` with the reason.
        """
        opened = await asyncio.to_thread(open_file, path, micros(clock.now()), vfs)
        disk = Disk(path.parent, disk_floor, clock.boot)
        company = Company(asyncio.get_running_loop().time)
        writer = Writer(
            opened.db,
            opened.memory,
            seconds=clock.boot,
            reach=reach,
            observe=observe,
            on_broken=on_broken,
            is_more_coming=company.is_expected,
        )
        readers = Readers(lambda: open_reader(path, vfs), _READERS)
        return cls(opened, vfs, writer, readers, Intake(disk, queue_limit, idempotency_retention), disk, company)

    @property
    def broken(self) -> StoreError | None:
        """Why the store has failed for good, if it has."""
        return self._writer.broken

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way in the store's threads."""
        return self._writer.is_idle and self._readers.is_idle

    async def close(self) -> None:
        """Finish what waits, close, and give the lock back."""
        await self._readers.close()
        await self._writer.close()
        self._opened.lock.release()

    # -- taking in

    async def stage(self, message: str, no: int, chunk: bytes) -> None:
        """Keep one chunk of a message that is still arriving."""
        await self._writer.do("stage", lambda t: self._intake.stage(t, message, no, chunk), len(chunk))

    async def unstage(self, message: str) -> None:
        """Drop the staged chunks of a message that will not be accepted."""
        await self._writer.do("unstage", lambda t: unstage(t, message))

    async def accept(self, new: NewMessage) -> Accepted | Replayed | KeyReused | OverQuota:
        """Store a message in one transaction."""
        weight = sum(map(len, new.content or ()))
        return await self._writer.do("accept", lambda t: self._intake.accept(t, new), weight)

    async def quotas(self, tenant: str, policies: Sequence[QuotaPolicy], now: datetime) -> Sequence[QuotaState]:
        """Return what is left of a tenant's windows."""
        at = micros(now)
        known = self._opened.memory.quotas(tenant, policies, at)
        if known is not None:
            return known
        return await self._readers.do(lambda db: quotas_of(db, tenant, policies, at))

    async def replay(
        self, tenant: str, route: str, key: str, fingerprint: bytes, now: datetime
    ) -> Replayed | KeyReused | None:
        """Look an idempotency key up."""
        at = micros(now)
        return await self._readers.do(lambda db: self._intake.known(db, tenant, route, key, fingerprint, at))

    # -- sending

    async def lanes(self) -> Sequence[LaneState]:
        """Return every lane with waiting messages."""
        return await self._readers.do(pick.lanes)

    async def pick(self, request: PickRequest) -> Picked:
        """Claim due messages of a lane."""
        return await self._writer.do("pick", lambda t: pick.pick(t, request), may_wait=True)

    async def mark(self, attempt: int, now: datetime) -> bool:
        """Commit the hand-over mark."""
        at = micros(now)
        is_marked = await self._writer.do("mark", lambda t: pick.mark(t, attempt, at), may_wait=True)
        if is_marked:
            self._company.marked(attempt)
        return is_marked

    async def settle(self, settlement: Settlement) -> Settled:
        """End an attempt."""
        self._company.settled(settlement.attempt)
        return await self._writer.do("settle", lambda t: settle.settle(t, settlement), may_wait=True)

    async def content(self, message: str) -> AsyncIterator[bytes]:
        """Yield the chunks of a message's content in order."""
        last: int | None = None
        while True:
            found = await self._readers.do(partial(reading.chunk_after, message=message, last=last))
            if found is None:
                return
            last, chunk = found
            yield chunk

    async def open_attempts(self) -> Sequence[OpenAttempt]:
        """Return the attempts without outcome."""
        return await self._readers.do(pick.open_attempts)

    async def ledger_rows(self, since: datetime) -> Sequence[LedgerRow]:
        """Return the attempts that began or ended after ``since``."""
        return await self._readers.do(lambda db: pick.ledger_rows(db, micros(since)))

    async def expire(self, now: datetime, limit: int) -> Sequence[Expired]:
        """End pending recipients of messages whose time is over."""
        return await self._writer.do("expire", lambda t: requests.expire(t, micros(now), limit))

    async def next_expiry(self) -> datetime | None:
        """Return when the next waiting message expires."""
        return await self._readers.do(requests.next_expiry)

    async def clock_seen(self) -> ClockSeen | None:
        """Return how the clocks stood to each other when last kept."""
        return await self._readers.do(timekeeping.seen)

    async def see_clock(self, clocks: ClockSeen) -> None:
        """Keep how the clocks stand to each other."""
        await self._writer.do("clock", lambda t: timekeeping.see(t, clocks))

    async def move_due(self, after: datetime, by: timedelta) -> int:
        """Move the due times that lie after an instant, but for those a caller named, in steps."""
        found = await self._readers.do(lambda db: timekeeping.due_after(db, micros(after), span(by)))
        moved = 0
        for start in range(0, len(found), timekeeping.STEP_ROWS):
            step = found[start : start + timekeeping.STEP_ROWS]
            moved += await self._writer.do("clock", partial(timekeeping.move_step, found=step, by=span(by)))
        return moved

    # -- by request

    async def cancel(self, tenant: str, message: str, now: datetime) -> Change | None:
        """Cancel every pending recipient unless a hand-over mark is committed."""
        return await self._writer.do("cancel", lambda t: requests.cancel(t, tenant, message, micros(now)))

    async def resolve(self, tenant: str, message: str, sent: bool, now: datetime) -> Change | None:
        """Settle every unknown recipient by a person's word."""
        return await self._writer.do("resolve", lambda t: requests.resolve(t, tenant, message, sent, micros(now)))

    async def reschedule(
        self, tenant: str, message: str, at: datetime, expires_at: datetime, now: datetime
    ) -> Change | None:
        """Move ``scheduled_at`` of a message no attempt of which has begun."""
        times = (micros(at), micros(expires_at), micros(now))
        return await self._writer.do("reschedule", lambda t: requests.reschedule(t, tenant, message, *times))

    async def retry(self, tenant: str, message: str, now: datetime, expires_at: datetime) -> Change | None:
        """Queue rejected, expired and canceled recipients again."""
        times = (micros(now), micros(expires_at))
        return await self._writer.do("retry", lambda t: requests.retry(t, tenant, message, *times))

    # -- reading

    async def message(self, tenant: str, message: str) -> MessageView | None:
        """Return a message of this tenant."""
        return await self._readers.do(lambda db: reading.view(db, tenant, message))

    async def work(self, message: str) -> Work | None:
        """Return the state of a message's work."""
        return await self._readers.do(lambda db: reading.work(db, message))

    async def messages(self, query: ListQuery) -> Page:
        """Return a page of a tenant's messages."""
        return await self._readers.do(lambda db: listing.page(db, query))

    async def events(self, tenant: str, message: str) -> Sequence[EventView] | None:
        """Return the timeline of a message."""
        return await self._readers.do(lambda db: reading.timeline(db, tenant, message))

    async def counts(self) -> Counts:
        """Return how full the store is."""
        by_work = dict(self._opened.memory.committed)
        size = await self._readers.do(reading.size)
        return Counts(
            by_work={work: by_work.get(work, 0) for work in Work},
            oldest_waiting=instant(size.oldest_waiting),
            file_bytes=size.file_bytes,
            free_bytes=size.free_bytes,
            disk_free_bytes=self._disk.free_bytes,
        )

    async def probe(self) -> str | None:
        """Try a commit; None when it went well, else the word of what is in the way."""
        try:
            await self._writer.do("probe", self._intake.probe)
        except StoreError as error:
            return error.reason
        return None

    # -- mailboxes

    async def parked(self) -> Sequence[ParkedRow]:
        """Return the parked mailboxes."""
        return await self._readers.do(mailboxes.parked)

    async def park(self, row: ParkedRow) -> None:
        """Keep that a mailbox is parked."""
        await self._writer.do("park", lambda t: mailboxes.park(t, row))

    async def release(self, mailbox: str) -> bool:
        """Forget that a mailbox was parked; whether it was."""
        return await self._writer.do("release", lambda t: mailboxes.release(t, mailbox))

    async def fingerprint_key(self) -> bytes:
        """Return the secret that keys credential fingerprints."""
        return await self._writer.do("secret", mailboxes.fingerprint_key)

    # -- housekeeping

    async def backup(self, target: Path) -> None:
        """Write a consistent copy to ``target`` while the store is in use. Raises ``StoreError``."""
        await asyncio.to_thread(upkeep.copy, self._opened.path, target, self._vfs)

    async def check(self) -> tuple[str, ...]:
        """Return what is wrong with the store, a sentence each; empty: nothing. Raises ``StoreError``."""
        return await asyncio.to_thread(upkeep.problems, self._opened.path, self._vfs)

    async def erase_content(self, now: datetime, sent: timedelta, other: timedelta, limit: int) -> int:
        """Erase content of done messages past its retention, in steps; spare pages go back to the disk."""
        before = (micros(now) - span(sent), micros(now) - span(other))
        erased = 0
        while erased < limit:
            rows = min(keep.STEP_ROWS, limit - erased)
            step = await self._writer.do("keep", partial(keep.erase_step, before=before, limit=rows))
            if not step:
                break
            erased += step
        while await self._writer.do("keep", keep.sweep_step):
            pass
        while await self._writer.do("keep", keep.shrink_step):
            pass
        return erased

    async def forget(self, now: datetime, metadata: timedelta, idempotency: timedelta, limit: int) -> int:
        """Delete done messages and idempotency keys past their retention, in steps."""
        forgotten = 0
        for step, before in (
            (keep.forget_step, micros(now) - span(metadata)),
            (keep.forget_keys_step, micros(now) - span(idempotency)),
        ):
            while forgotten < limit:
                rows = min(keep.STEP_ROWS, limit - forgotten)
                gone = await self._writer.do("keep", partial(step, before=before, limit=rows))
                if not gone:
                    break
                forgotten += gone
        return forgotten
