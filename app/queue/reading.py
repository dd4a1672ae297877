"""Reads messages as they are shown, one or a handful at a time, and their timelines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeVar

import apsw

from app.mail.message import AttemptOutcome, Kind, Priority, Result, Work
from app.queue.asking import Row, row, rows, value
from app.queue.codec import instant, unpacked
from app.queue.rows import LaneKey
from app.queue.views import AttemptView, EventView, MessageView, RecipientView

T = TypeVar("T")
_BEFORE_ALL: Final = -(2**62)

# The place of a tenant's message.
FIND: Final = "SELECT seq FROM messages WHERE id = ? AND tenant = (SELECT id FROM tenants WHERE name = ?)"

# The state of a message's work.
WORK: Final = "SELECT work FROM messages WHERE id = ?"

# How many messages of its lane go before one, counted so far.
REACH_OF_ONE: Final = 200_000
REACH_OF_MANY: Final = 500

# Messages as they are shown, by their places (a JSON list); how many go before each is counted up to a bound.
MESSAGES: Final = """
SELECT m.seq, m.id, t.name, m.work, l.sender, p.sender_key, l.subject, m.message_id, m.created_at, m.scheduled_at,
    m.due_at, m.expires_at, m.priority, m.size, m.is_test, m.tries, l.tags, l.metadata, m.pair, m.body,
    CASE WHEN m.due_at IS NOT NULL THEN (
        SELECT count(*) FROM (
            SELECT 1 FROM messages AS w INDEXED BY messages_waiting
            WHERE w.due_at IS NOT NULL AND w.pair = m.pair AND w.priority = m.priority
                AND (w.due_at, w.seq) < (m.due_at, m.seq)
            LIMIT ?2
        )
    ) END
FROM json_each(?1) AS wanted
CROSS JOIN messages AS m ON m.seq = wanted.value
CROSS JOIN letters AS l ON l.message = m.seq
CROSS JOIN pairs AS p ON p.id = m.pair
CROSS JOIN tenants AS t ON t.id = m.tenant
"""

# Their recipients, in order.
RECIPIENTS: Final = """
SELECT r.message, r.address, r.kind, r.result, r.reply, r.cause, r.cure, r.at
FROM json_each(?) AS wanted CROSS JOIN recipients AS r ON r.message = wanted.value
ORDER BY wanted.key, r.no
"""

# Their attempts, in order.
ATTEMPTS: Final = """
SELECT a.message, a.number, a.mailbox, a.started_at, a.ended_at, a.outcome, a.reply
FROM json_each(?) AS wanted CROSS JOIN attempts AS a INDEXED BY attempts_message ON a.message = wanted.value
ORDER BY wanted.key, a.id
"""

# The chunk of a message's content that follows another.
CHUNK: Final = """
SELECT no, chunk FROM content INDEXED BY content_body
WHERE body = (SELECT body FROM messages WHERE id = ?) AND no > ? ORDER BY no LIMIT 1
"""

# The place of the oldest message that waits.
OLDEST: Final = "SELECT min(seq) FROM messages INDEXED BY messages_waiting WHERE due_at IS NOT NULL"

# The timeline of a message.
EVENTS: Final = """
SELECT e.id, e.type, e.at, e.attempt, r.address, e.reply, e.cause, e.cure, e.next_attempt_at
FROM events AS e INDEXED BY events_message
LEFT JOIN recipients AS r ON r.message = e.message AND r.no = e.recipient
WHERE e.message = ? ORDER BY e.id
"""


def work(db: apsw.Connection, message: str) -> Work | None:
    """Return the state of a message's work."""
    found = value(db, WORK, (message,))
    return None if found is None else Work(found)


def place_of(db: apsw.Connection, tenant: str, message: str) -> int | None:
    """Return the place of a message of this tenant."""
    place: int | None = value(db, FIND, (message, tenant))
    return place


def view(db: apsw.Connection, tenant: str, message: str) -> MessageView | None:
    """Return a message of this tenant."""
    seq = place_of(db, tenant, message)
    return None if seq is None else views(db, [seq], REACH_OF_ONE)[0]


def views(db: apsw.Connection, seqs: Sequence[int], reach: int = REACH_OF_MANY) -> tuple[MessageView, ...]:
    """Return the messages at these places, in this order; those before each in its lane are counted up to ``reach``."""
    wanted = (json.dumps(seqs),)
    recipients = _grouped(rows(db, RECIPIENTS, wanted), _recipient)
    attempts = _grouped(rows(db, ATTEMPTS, wanted), _attempt)
    return tuple(
        _view(each, tuple(recipients.get(each[0], ())), tuple(attempts.get(each[0], ())), reach)
        for each in rows(db, MESSAGES, (*wanted, reach))
    )


def timeline(db: apsw.Connection, tenant: str, message: str) -> tuple[EventView, ...] | None:
    """Return the events of a message of this tenant, oldest first."""
    seq = place_of(db, tenant, message)
    if seq is None:
        return None
    return tuple(
        EventView(number, type_, instant(at), attempt, recipient, unpacked(reply), cause, cure, instant(next_at))
        for number, type_, at, attempt, recipient, reply, cause, cure, next_at in rows(db, EVENTS, (seq,))
    )


def chunk_after(db: apsw.Connection, message: str, last: int | None) -> tuple[int, bytes] | None:
    """Return the chunk of a message's content behind number ``last`` (None: the first), with its number."""
    found = row(db, CHUNK, (message, _BEFORE_ALL if last is None else last))
    return None if found is None else (found[0], found[1])


@dataclass(frozen=True, slots=True)
class Size:
    """How large the file is, how much of it is free for reuse, and since when the oldest message waits."""

    file_bytes: int
    free_bytes: int
    oldest_waiting: int | None


def size(db: apsw.Connection) -> Size:
    """Measure the store; a message's place says when it was created."""
    page = value(db, "PRAGMA page_size")
    total = value(db, "PRAGMA page_count")
    free = value(db, "PRAGMA freelist_count")
    return Size(total * page, free * page, value(db, OLDEST))


def _grouped(found: Iterable[Row], build: Callable[[Row], T]) -> dict[int, list[T]]:
    return {key: [build(each[1:]) for each in group] for key, group in groupby(found, itemgetter(0))}


def _recipient(found: Row) -> RecipientView:
    address, kind, result, reply, cause, cure, at = found
    return RecipientView(address, Kind(kind), Result(result), unpacked(reply), cause, cure, instant(at))


def _attempt(found: Row) -> AttemptView:
    number, mailbox, started, ended, outcome, reply = found
    ended_as = AttemptOutcome(outcome) if outcome else None
    return AttemptView(number, mailbox, instant(started), instant(ended), ended_as, unpacked(reply))


def _view(
    found: Row, recipients: tuple[RecipientView, ...], attempts: tuple[AttemptView, ...], reach: int
) -> MessageView:
    (_, id_, tenant, work, sender, sender_key, subject, message_id, created, scheduled) = found[:10]
    (due, expires, priority, size, is_test, tries, tags, metadata, pair, body, ahead) = found[10:]
    return MessageView(
        id=id_,
        tenant=tenant,
        work=Work(work),
        sender=sender,
        sender_key=sender_key,
        subject=subject,
        message_id=message_id,
        created_at=instant(created),
        scheduled_at=instant(scheduled),
        due_at=instant(due),
        expires_at=instant(expires),
        priority=Priority(priority),
        size=size,
        is_test=bool(is_test),
        tries=tries,
        tags=tuple((name, value) for name, value in json.loads(tags)),
        metadata=json.loads(metadata),
        recipients=recipients,
        attempts=attempts,
        lane=LaneKey(pair, Priority(priority)),
        content_erased=body is None,
        ahead=ahead if ahead is not None and ahead < reach else None,
    )
