"""Takes messages in: idempotency, limits, rows, content and first event, in one transaction.

Also the content of messages that are still arriving: it is staged chunk by chunk and adopted by the accept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import apsw

from app.mail.message import Result, Work
from app.queue.asking import row, value
from app.queue.codec import compact, micros, packed, printable, span
from app.queue.contract import StoreError
from app.queue.disk import Disk
from app.queue.moves import COUNTED
from app.queue.rows import Accepted, KeyReused, LaneKey, NewMessage, NewRecipient, OverQuota, Replayed
from app.queue.timeline import Event, add_events
from app.queue.writer import Transaction

# The answer kept for an idempotency key.
FIND_KEY: Final = """
SELECT fingerprint, status, location, body FROM idempotency
WHERE tenant = (SELECT id FROM tenants WHERE name = ?) AND route = ? AND key = ? AND created_at > ?
"""

# Keep the answer for an idempotency key, over one that is past its retention.
KEEP_KEY: Final = """
INSERT INTO idempotency (tenant, route, key, fingerprint, status, location, body, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, route, key) DO UPDATE
SET fingerprint = excluded.fingerprint, status = excluded.status, location = excluded.location,
    body = excluded.body, created_at = excluded.created_at
"""

# Queue a message (or keep it as done, where nothing is left to do).
ADD_MESSAGE: Final = """
INSERT INTO messages (
    seq, id, tenant, pair, priority, work, due_at, expires_at, created_at, scheduled_at, date_at, done_at,
    attempts, tries, unknowns, hold_unknown, size, smtputf8, is_test, body, message_id,
    recipients, pending, sent, unknown, expired, canceled
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# Keep what a person reads of a message.
ADD_LETTER: Final = """
INSERT INTO letters (message, sender, subject, tags, metadata, source, key_id, request_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

# Make a message findable by a tag; a tag given twice is one.
ADD_TAG: Final = "INSERT INTO tags (tenant, name, value, message) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"

# Keep a recipient.
ADD_RECIPIENT: Final = """
INSERT INTO recipients (message, no, tenant, address, key, wire, kind, result, reply, cause, cure, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# Keep a chunk of content.
ADD_CHUNK: Final = "INSERT INTO content (body, no, chunk) VALUES (?, ?, ?)"

# The content that was staged for a message to be.
FIND_STAGED: Final = "SELECT body FROM loose WHERE message = ?"

# Content that belongs to no message yet; it is named by the message to be.
ADD_LOOSE: Final = "INSERT INTO loose (body, message) VALUES (?, ?)"

# Staged content now belongs to its message.
ADOPT: Final = "DELETE FROM loose WHERE body = ?"

# Write something, to see whether it can be done.
BEAT: Final = "UPDATE pulse SET beats = beats + 1"

# Staged content will not be needed: it is deleted bit by bit.
DOOM: Final = "UPDATE loose SET message = NULL WHERE message = ?"


class Intake:
    """The jobs of taking in, with the bounds of the store. ``queue_limit`` 0: none."""

    def __init__(self, disk: Disk, queue_limit: int, key_retention: timedelta) -> None:
        self._disk = disk
        self._queue_limit = queue_limit
        self._key_retention = span(key_retention)

    def obstacle(self, transaction: Transaction) -> StoreError | None:
        """Return why nothing can be taken in at present, if so."""
        if self._queue_limit and transaction.memory.waiting >= self._queue_limit:
            return StoreError("queue-full", f"{self._queue_limit} messages are waiting: the queue is full")
        return self._disk.obstacle()

    def probe(self, transaction: Transaction) -> None:
        """Write one row. Raises ``StoreError`` with what is in the way of taking in."""
        if obstacle := self.obstacle(transaction):
            raise obstacle
        transaction.db.execute(BEAT)

    def stage(self, transaction: Transaction, message: str, no: int, chunk: bytes) -> None:
        """Keep one chunk of a message to be. Raises ``StoreError`` (``disk-full``)."""
        if obstacle := self._disk.obstacle():
            raise obstacle
        db = transaction.db
        body = value(db, FIND_STAGED, (message,))
        if body is None:
            body = transaction.memory.next_body()
            db.execute(ADD_LOOSE, (body, message))
        db.execute(ADD_CHUNK, (body, no, chunk))

    def known(
        self, db: apsw.Connection, tenant: str, route: str, key: str, fingerprint: bytes, now: int
    ) -> Replayed | KeyReused | None:
        """Return what a key says to a caller with this fingerprint; None: unknown or past its retention."""
        found = row(db, FIND_KEY, (tenant, route, key, now - self._key_retention))
        if found is None:
            return None
        known, status, location, body = found
        return Replayed(status, location, body) if known == fingerprint else KeyReused()

    def accept(self, transaction: Transaction, new: NewMessage) -> Accepted | Replayed | KeyReused | OverQuota:
        """Store a message. Raises ``StoreError`` (``queue-full``, ``disk-full``) before anything is written."""
        memory = transaction.memory
        created = micros(new.created_at)
        if key := new.idempotency:
            known = self.known(transaction.db, new.tenant, key.route, key.key, key.fingerprint, created)
            if known is not None:
                return known
        if obstacle := self.obstacle(transaction):
            raise obstacle
        tenant = memory.tenant(new.tenant)
        quotas = memory.windows.states(tenant, new.quotas, created, len(new.recipients))
        if violated := tuple(state for state in quotas if state.reset_seconds):
            return OverQuota(violated, tuple(quotas))
        pair = memory.pair(tenant, new.sender_key)
        work = self._write(transaction, new, tenant, pair)
        if key:
            kept = (tenant, key.route, key.key, key.fingerprint, key.status, key.location, key.body, created)
            transaction.db.execute(KEEP_KEY, kept)
        memory.moved(None, work)
        quotas = memory.windows.add(tenant, new.quotas, created, len(new.recipients))
        return Accepted(LaneKey(pair, new.priority) if work is Work.QUEUED else None, tuple(quotas))

    def _write(self, transaction: Transaction, new: NewMessage, tenant: int, pair: int) -> Work:
        db = transaction.db
        created = micros(new.created_at)
        scheduled = micros(new.scheduled_at)
        seq = transaction.memory.next_seq(created)
        body = seq if new.content is not None else _adopted(db, new.id)
        results = [recipient.result for recipient in new.recipients]
        work = Work.QUEUED if Result.PENDING in results else Work.DONE
        due, done = (micros(new.due_at), None) if work is Work.QUEUED else (None, created)
        counts = map(results.count, COUNTED)
        times = (due, micros(new.expires_at), created, scheduled, micros(new.date), done)
        about = (new.size, new.smtputf8, new.is_test, body, new.message_id, len(new.recipients))
        place = (seq, new.id, tenant, pair, int(new.priority), work.value)
        db.execute(ADD_MESSAGE, (*place, *times, *about, *counts))
        tags = compact(new.tags) if new.tags else "[]"
        metadata = compact(dict(new.metadata)) if new.metadata else "{}"
        db.execute(ADD_LETTER, (seq, new.sender, new.subject, tags, metadata, new.source, new.key_id, new.request_id))
        if new.tags:
            db.executemany(ADD_TAG, [(tenant, name, value, seq) for name, value in new.tags])
        db.executemany(ADD_RECIPIENT, _recipients(new, seq, tenant, created))
        if new.content is not None:
            db.executemany(ADD_CHUNK, [(body, no, chunk) for no, chunk in enumerate(new.content)])
        add_events(db, _events(new, seq, created, scheduled))
        return work


def unstage(transaction: Transaction, message: str) -> None:
    """Give staged content up; housekeeping deletes it bit by bit."""
    transaction.db.execute(DOOM, (message,))


def _adopted(db: apsw.Connection, message: str) -> int:
    body: int | None = value(db, FIND_STAGED, (message,))
    if body is None:
        raise LookupError(f"nothing was staged for {message}")
    db.execute(ADOPT, (body,))
    return body


def _recipients(new: NewMessage, seq: int, tenant: int, created: int) -> Iterator[tuple[object, ...]]:
    for no, each in enumerate(new.recipients):
        at = None if each.result is Result.PENDING else created
        names = (each.address, each.key, each.wire, each.kind.value)
        yield (seq, no, tenant, *names, each.result.value, *_words(each), at)


def _words(recipient: NewRecipient) -> tuple[str | None, str | None, str | None]:
    return packed(recipient.reply), printable(recipient.cause), printable(recipient.cure)


def _events(new: NewMessage, seq: int, created: int, scheduled: int | None) -> Iterator[Event]:
    if scheduled is not None and scheduled > created:
        yield Event(seq, "scheduled", created, next_attempt_at=scheduled)
    else:
        yield Event(seq, "accepted", created)
    for no, each in enumerate(new.recipients):
        if each.result is not Result.PENDING:
            yield Event(seq, each.result.value, created, None, no, *_words(each))
