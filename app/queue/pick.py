"""Hands messages out to be sent: lanes, claims, and the mark without which no final dot is written.

A claim exists only once its attempt row is on disk. Every write names the state it expects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Final

import apsw

from app.mail.message import Priority, Work
from app.queue.asking import Row, rows, value
from app.queue.codec import compact, instant, micros
from app.queue.rows import Claim, ClaimedRecipient, LaneKey, LaneState, LedgerRow, OpenAttempt, Picked, PickRequest
from app.queue.writer import Transaction

# Content up to so many octets comes along with the claim.
INLINE_BYTES: Final = 64 * 1024
_NO_LIMIT: Final = 2**62

# Every lane in which something waits, and how much of it is due by when: a line for each minute in which some is.
LANES: Final = """
SELECT m.pair, m.priority, t.name, p.sender_key, m.waiting, m.next_due
FROM (
    SELECT pair, priority, count(*) AS waiting, min(due_at) AS next_due
    FROM messages INDEXED BY messages_waiting WHERE due_at IS NOT NULL GROUP BY pair, priority, due_at / 60000000
) AS m
JOIN pairs AS p ON p.id = m.pair
JOIN tenants AS t ON t.id = p.tenant
ORDER BY m.pair, m.priority, m.next_due
"""

_CLAIM_COLUMNS: Final = """
m.seq, m.id, m.pair, m.priority, t.name, p.sender_key, m.message_id, m.date_at, m.created_at, m.expires_at,
m.size, m.smtputf8, m.attempts, m.tries, m.unknowns, m.pending, m.recipients, m.work
"""

# The due messages of a lane that fit a mailbox, the oldest due first, with their content if it is small.
DUE: Final = f"""
SELECT {_CLAIM_COLUMNS},
    CASE WHEN m.size <= {INLINE_BYTES + 4096} THEN (
        SELECT CASE WHEN count(*) = 1 AND max(length(c.chunk)) <= {INLINE_BYTES} THEN max(c.chunk) END
        FROM content AS c WHERE c.body = m.body
    ) END
FROM messages AS m INDEXED BY messages_waiting
CROSS JOIN pairs AS p ON p.id = m.pair
CROSS JOIN tenants AS t ON t.id = p.tenant
WHERE m.due_at IS NOT NULL AND m.pair = ?1 AND m.priority = ?2 AND m.due_at <= ?3
    AND m.expires_at > ?4 AND m.size <= ?5 AND m.pending <= ?6
    AND (?7 IS NULL OR NOT EXISTS (
        SELECT 1 FROM recipients AS r
        WHERE r.message = m.seq AND r.result = 'pending'
            AND substr(r.key, instr(r.key, '@') + 1) NOT IN (SELECT value FROM json_each(?7))
    ))
ORDER BY m.due_at, m.seq
LIMIT ?8
"""  # noqa: S608 - only constants of this file

# When the next message of a lane is due.
NEXT_DUE: Final = """
SELECT due_at FROM messages INDEXED BY messages_waiting
WHERE due_at IS NOT NULL AND pair = ? AND priority = ? AND expires_at > ?
ORDER BY due_at LIMIT 1
"""

# Claim a waiting message for an attempt.
CLAIM: Final = """
UPDATE messages SET work = 'sending', due_at = NULL, attempt = ?2, attempts = attempts + 1
WHERE seq = ?1 AND due_at IS NOT NULL
"""

# Begin an attempt.
ADD_ATTEMPT: Final = """
INSERT INTO attempts (message, number, mailbox, envelope, boot_id, started_at, started_boot, counted, charged)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0) RETURNING id
"""

# The recipients of a message that still need it.
PENDING: Final = "SELECT no, wire, key FROM recipients WHERE message = ? AND result = 'pending' ORDER BY no"

# Commit the hand-over mark: the attempt open and unmarked, its message still sending by it and in time.
MARK: Final = """
UPDATE attempts SET marked_at = ?2
WHERE id = ?1 AND marked_at IS NULL AND ended_at IS NULL AND EXISTS (
    SELECT 1 FROM messages AS m
    WHERE m.seq = attempts.message AND m.work = 'sending' AND m.attempt = attempts.id AND m.expires_at > ?2
)
"""

# The attempts without an outcome, with their messages.
OPEN: Final = f"""
SELECT a.id, a.number, a.mailbox, a.envelope, a.marked_at, {_CLAIM_COLUMNS}
FROM attempts AS a INDEXED BY attempts_open
CROSS JOIN messages AS m ON m.seq = a.message
CROSS JOIN pairs AS p ON p.id = m.pair
CROSS JOIN tenants AS t ON t.id = p.tenant
WHERE a.ended_at IS NULL
ORDER BY a.id
"""  # noqa: S608 - only constants of this file

# The attempts that ended after an instant, or have not; an attempt never ends before it began.
LEDGER: Final = """
SELECT mailbox, boot_id, started_at, started_boot, ended_at, ended_boot, charged
FROM attempts INDEXED BY attempts_ended WHERE ended_at IS NOT NULL AND ended_at > ?
UNION ALL
SELECT mailbox, boot_id, started_at, started_boot, ended_at, ended_boot, charged
FROM attempts INDEXED BY attempts_open WHERE ended_at IS NULL
"""


def lanes(db: apsw.Connection) -> tuple[LaneState, ...]:
    """Return every lane with waiting messages."""
    found: list[LaneState] = []
    for (pair, priority, tenant, sender_key), group in groupby(rows(db, LANES), itemgetter(0, 1, 2, 3)):
        dues = tuple((instant(due), waiting) for *_, waiting, due in group)
        waiting = sum(count for _, count in dues)
        found.append(LaneState(LaneKey(pair, Priority(priority)), tenant, sender_key, waiting, dues[0][0], dues))
    return tuple(found)


def pick(transaction: Transaction, request: PickRequest) -> Picked:
    """Claim due messages of a lane; see ``QueueStore.pick``."""
    db = transaction.db
    now = micros(request.now)
    lane = (request.lane.pair, int(request.lane.priority))
    limits = (request.max_size or _NO_LIMIT, request.max_recipients or _NO_LIMIT)
    domains = None if request.only_domains is None else compact(sorted(request.only_domains))
    due = rows(db, DUE, (*lane, now, now, *limits, domains, request.count))
    claims = tuple(_claimed(transaction, request, now, found) for found in due)
    return Picked(claims, instant(value(db, NEXT_DUE, (*lane, now))))


def _claimed(transaction: Transaction, request: PickRequest, now: int, found: Row) -> Claim:
    db = transaction.db
    seq, attempts, pending, total, work = found[0], found[12], found[15], found[16], found[17]
    recipients = rows(db, PENDING, (seq,))
    # Most attempts carry the whole message; only a part is worth a list.
    envelope = None if pending == total else compact([no for no, _, _ in recipients])
    began = (seq, attempts + 1, request.mailbox, envelope, request.boot_id, now, request.boot)
    attempt = value(db, ADD_ATTEMPT, began)
    db.execute(CLAIM, (seq, attempt))
    transaction.memory.moved(Work(work), Work.SENDING)
    return _claim(attempt, attempts + 1, request.mailbox, found, recipients, found[18])


def _claim(
    attempt: int,
    number: int,
    mailbox: str,
    columns: Row,
    recipients: Iterable[Row],
    content: bytes | None,
) -> Claim:
    """Build a claim from the claim columns."""
    (_, message, pair, priority, tenant, sender_key, message_id, date, created, expires, size, utf8) = columns[:12]
    return Claim(
        attempt=attempt,
        number=number,
        message=message,
        lane=LaneKey(pair, Priority(priority)),
        tenant=tenant,
        sender_key=sender_key,
        mailbox=mailbox,
        message_id=message_id,
        date=instant(date),
        created_at=instant(created),
        expires_at=instant(expires),
        size=size,
        smtputf8=bool(utf8),
        tries=columns[13],
        unknowns=columns[14],
        recipients=tuple(ClaimedRecipient(no, wire, key) for no, wire, key in recipients),
        content=content,
    )


def mark(transaction: Transaction, attempt: int, now: int) -> bool:
    """Commit the hand-over mark; see ``QueueStore.mark``."""
    transaction.db.execute(MARK, (attempt, now))
    return transaction.db.changes() == 1


def open_attempts(db: apsw.Connection) -> tuple[OpenAttempt, ...]:
    """Return the attempts without outcome, each with those of its recipients that are still pending."""
    found = []
    for attempt, number, mailbox, envelope, marked, *columns in rows(db, OPEN):
        recipients = rows(db, PENDING, (columns[0],))
        if envelope is not None:
            carried = set(json.loads(envelope))
            recipients = [each for each in recipients if each[0] in carried]
        found.append(
            OpenAttempt(_claim(attempt, number, mailbox, tuple(columns), recipients, None), marked is not None)
        )
    return tuple(found)


def ledger_rows(db: apsw.Connection, since: int) -> tuple[LedgerRow, ...]:
    """Return the attempts that ended after an instant or have not ended."""
    return tuple(
        LedgerRow(mailbox, boot_id, instant(started), started_boot, instant(ended), ended_boot, charged)
        for mailbox, boot_id, started, started_boot, ended, ended_boot, charged in rows(db, LEDGER, (since,))
    )
