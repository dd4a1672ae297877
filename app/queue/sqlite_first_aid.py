"""First aid on SQLite: choosing is left to the readers, changing to the writer, a few messages at a time.

One step is one job of the writer, bounded in messages and recipients, so that an accept never waits long behind it
(measured: 4 ms for a full step of cancel). What a promise means stands in ``first_aid.FirstAid``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from app.kit.ids import new_id
from app.queue import audit, holding, selecting
from app.queue.codec import micros
from app.queue.first_aid import AuditPage, Deed, Filter, Moved, Paused, Tally
from app.queue.readers import Readers
from app.queue.selecting import Place
from app.queue.views import Page
from app.queue.writer import Transaction, Writer

_PAGE: Final = 1024  # places chosen at a time
STEP_MESSAGES: Final = 32
STEP_RECIPIENTS: Final = 128
_INSTANT: Final = timedelta(microseconds=1)


def steps_of(places: Sequence[Place]) -> Iterator[list[int]]:
    """Divide places into steps; a message of many recipients is a step of its own."""
    step: list[int] = []
    recipients = 0
    for place in places:
        if step and (len(step) >= STEP_MESSAGES or recipients + place.recipients > STEP_RECIPIENTS):
            yield step
            step, recipients = [], 0
        step.append(place.seq)
        recipients += place.recipients
    if step:
        yield step


class SqliteFirstAid:
    """Keeps the promise of ``first_aid.FirstAid``."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def pause(self, tenant: str, who: str, now: datetime) -> bool:
        """Keep that a tenant is paused."""
        told = _note(who, "tenant.pause", tenant, None, now)
        return await self._writer.do("aid", lambda t: audit.pause(t, tenant, told))

    async def resume(self, tenant: str, who: str, now: datetime) -> bool:
        """Forget that a tenant was paused."""
        told = _note(who, "tenant.resume", tenant, None, now)
        return await self._writer.do("aid", lambda t: audit.resume(t, tenant, told))

    async def paused(self) -> Sequence[Paused]:
        """Return the paused tenants."""
        return await self._readers.do(audit.paused)

    async def queue(self, asked: Filter, now: datetime, limit: int, after: int | None, before: int | None) -> Page:
        """Return a page of messages of all tenants that are not done."""
        return await self._readers.do(lambda db: selecting.page(db, asked, now, limit, after, before))

    async def change(
        self, deed: Deed, asked: Filter, who: str, now: datetime, tell: Callable[[Sequence[Moved]], None]
    ) -> Tally:
        """Do something to every message that fits, in steps."""
        end = now + _INSTANT
        until = replace(asked, before=min(asked.before or end, end))
        note = _note(who, f"queue.{deed.value}", str(asked), "matched 0, changed 0", now)
        await self._writer.do("aid", lambda t: audit.note(t.db, note))
        tally = Tally(0, 0)
        chosen = await self._choose(until, now, None)
        while chosen:
            for seqs in steps_of(chosen):
                moved, tally = await self._step(deed, seqs, note, tally)
                tell(moved)
            chosen = await self._choose(until, now, chosen[-1].seq)
        return tally

    async def _choose(self, asked: Filter, now: datetime, last: int | None) -> list[Place]:
        return await self._readers.do(lambda db: selecting.places(db, asked, now, _PAGE, low=last))

    async def _step(
        self, deed: Deed, seqs: Sequence[int], note: audit.Note, before: Tally
    ) -> tuple[tuple[Moved, ...], Tally]:
        """Make one step, and let the audit tell how far it came, in one transaction."""

        def work(transaction: Transaction) -> tuple[tuple[Moved, ...], Tally]:
            moved = holding.step(transaction, deed, seqs, note.at)
            tally = Tally(before.matched + len(seqs), before.changed + len(moved))
            told = note._replace(detail=f"matched {tally.matched}, changed {tally.changed}")
            audit.note(transaction.db, told)
            return moved, tally

        return await self._writer.do("aid", work)

    async def note(self, who: str, action: str, target: str, detail: str | None, now: datetime) -> None:
        """Add a row to the audit."""
        told = _note(who, action, target, detail, now)
        await self._writer.do("aid", lambda t: audit.note(t.db, told))

    async def audit(self, limit: int, after: int | None, before: int | None) -> AuditPage:
        """Return a page of the audit."""
        return await self._readers.do(lambda db: audit.page(db, limit, after, before))


def _note(who: str, action: str, target: str, detail: str | None, now: datetime) -> audit.Note:
    return audit.Note(new_id("aud"), micros(now), who, action, target, detail)
