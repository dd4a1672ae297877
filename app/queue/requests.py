"""Changes a message because somebody asks, or because its time is over: cancel, resolve, reschedule, retry, expire.

Each is one transaction: recipients first, guarded by the result they must have, then the message by what they are now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import apsw

from app.mail.message import Result, Work
from app.queue.asking import rows, value
from app.queue.codec import instant
from app.queue.moves import BY_ID, OVERDUE, Next, State, at_rest, move, results_of, states, unmoved
from app.queue.reading import views
from app.queue.rows import Expired
from app.queue.timeline import Event, add_events
from app.queue.views import Change
from app.queue.writer import Transaction

# Pending recipients of a message end otherwise than by a server's word; what a server said last stays with them. Who
# may have been reached by a first try is not told as one who was not.
END_PENDING: Final = """
UPDATE recipients SET result = CASE WHEN doubt IS NULL THEN ?2 ELSE 'unknown' END, at = ?3
WHERE message = ?1 AND result = 'pending' RETURNING no, result
"""

# Unknown recipients of a message become what a person says.
RESOLVE: Final = """
UPDATE recipients SET result = ?2, at = ?3, cause = ?4, cure = NULL, doubt = NULL
WHERE message = ?1 AND result = 'unknown'
RETURNING no
"""

# Recipients that were refused, ran out of time or were canceled are pending again; the words of then stay with them.
REVIVE: Final = """
UPDATE recipients SET result = 'pending', at = ?2
WHERE message = ?1 AND result IN ('rejected', 'expired', 'canceled')
RETURNING no
"""

# Whether the attempt has its hand-over mark.
IS_MARKED: Final = "SELECT marked_at IS NOT NULL FROM attempts WHERE id = ?"

# Move the time to go of a message no attempt of which has begun; the Date line goes along.
RESCHEDULE: Final = """
UPDATE messages SET scheduled_at = ?2, due_at = ?3, date_at = ?4, expires_at = ?5, work = 'queued'
WHERE seq = ?1 AND attempts = 0 AND due_at IS NOT NULL
"""

# The time to go that a caller named.
APPOINTMENT: Final = "SELECT scheduled_at FROM messages WHERE seq = ?"

# Give a message a new end of its lifetime.
PROLONG: Final = "UPDATE messages SET expires_at = ? WHERE seq = ?"

# When the next message expires.
NEXT_EXPIRY: Final = """
SELECT expires_at FROM messages INDEXED BY messages_expiry
WHERE pending > 0 AND work <> 'sending' ORDER BY expires_at LIMIT 1
"""


def _found(transaction: Transaction, tenant: str, message: str) -> State | None:
    found = states(transaction.db, BY_ID, (message, tenant))
    return found[0] if found else None


def _change(db: apsw.Connection, state: State, *, done: bool, due: bool = False, reason: str | None = None) -> Change:
    return Change(views(db, [state.seq])[0], done, due, reason)


def _places(db: apsw.Connection, statement: str, bindings: tuple[object, ...]) -> list[int]:
    return sorted(no for (no,) in rows(db, statement, bindings))


def end_pending(
    transaction: Transaction, state: State, result: Result, now: int, cause: str | None = None
) -> tuple[Next, int] | None:
    """End what is pending of a message that nobody is sending; where it goes, and of how many recipients.

    None: nothing was pending.
    """
    db = transaction.db
    ended = sorted(rows(db, END_PENDING, (state.seq, result.value, now)))
    if not ended:
        return None
    results = results_of(db, state.seq)
    goal = at_rest(state, results)
    move(transaction, state, goal, results, now)
    add_events(db, (Event(state.seq, word, now, recipient=no, cause=cause) for no, word in ended))
    return goal, len(ended)


def is_marked(db: apsw.Connection, state: State) -> bool:
    """Whether the attempt that holds a message has its hand-over mark: too late for any fence."""
    return state.attempt is not None and bool(value(db, IS_MARKED, (state.attempt,)))


def cancel(transaction: Transaction, tenant: str, message: str, now: int) -> Change | None:
    """Cancel every pending recipient; see ``QueueStore.cancel``.

    While the message is sending without a mark, it leaves the claim: the mark that comes too late finds nothing.
    """
    db = transaction.db
    state = _found(transaction, tenant, message)
    if state is None:
        return None
    if is_marked(db, state):
        return _change(db, state, done=False)
    return _change(db, state, done=end_pending(transaction, state, Result.CANCELED, now) is not None)


def resolve(transaction: Transaction, tenant: str, message: str, sent: bool, now: int) -> Change | None:
    """Settle every unknown recipient by a person's word; see ``QueueStore.resolve``."""
    db = transaction.db
    state = _found(transaction, tenant, message)
    if state is None:
        return None
    if not state.unknown:
        return _change(db, state, done=False, reason="nothing-to-resolve")
    if not sent and state.body is None:
        return _change(db, state, done=False, reason="content-erased")
    word = "a person says that it was sent" if sent else "a person says that it was not sent"
    result = Result.SENT if sent else Result.PENDING
    resolved = _places(db, RESOLVE, (state.seq, result.value, now, word))
    results = results_of(db, state.seq)
    goal = after_resolving(state, results, now)
    move(transaction, state, goal, results, now)
    add_events(db, (Event(state.seq, "resolved", now, recipient=no, cause=word) for no in resolved))
    return _change(db, state, done=True, due=goal.due_at is not None)


def after_resolving(state: State, results: Sequence[Result], now: int) -> Next:
    """Decide where a message goes that has no unknown recipient any more."""
    if Result.PENDING not in results:
        return unmoved(state) if state.work is Work.SENDING else Next(Work.DONE)
    if state.is_kept or state.work not in (Work.DONE, Work.HELD):
        return Next(state.work, state.due_at)
    return Next(Work.QUEUED, now)


def reschedule(
    transaction: Transaction, tenant: str, message: str, at: int, expires_at: int, now: int
) -> Change | None:
    """Move ``scheduled_at``; see ``QueueStore.reschedule``."""
    db = transaction.db
    state = _found(transaction, tenant, message)
    if state is None:
        return None
    db.execute(RESCHEDULE, (state.seq, at, max(at, now), max(at, state.created_at), expires_at))
    if db.changes() != 1:
        return _change(db, state, done=False)
    transaction.memory.moved(state.work, Work.QUEUED)
    add_events(db, [Event(state.seq, "scheduled", now, next_attempt_at=at)])
    return _change(db, state, done=True, due=True)


def retry(transaction: Transaction, tenant: str, message: str, now: int, expires_at: int) -> Change | None:
    """Queue rejected, expired and canceled recipients again; see ``QueueStore.retry``."""
    db = transaction.db
    state = _found(transaction, tenant, message)
    if state is None:
        return None
    if state.body is None:
        return _change(db, state, done=False, reason="content-erased")
    revived = _places(db, REVIVE, (state.seq, now))
    if not revived:
        return _change(db, state, done=False, reason="nothing-to-retry")
    results = results_of(db, state.seq)
    stays = state.work is Work.SENDING or state.is_kept
    due_at = max(now, value(db, APPOINTMENT, (state.seq,)) or now)  # an appointment stays one
    goal = unmoved(state) if stays else Next(Work.QUEUED, due_at, state.hold_unknown)
    move(transaction, state, goal, results, now)
    db.execute(PROLONG, (expires_at + due_at - now, state.seq))
    add_events(db, (Event(state.seq, "retried", now, recipient=no) for no in revived))
    return _change(db, state, done=True, due=not stays)


def expire(transaction: Transaction, now: int, limit: int) -> tuple[Expired, ...]:
    """End what is pending of messages whose time is over; see ``QueueStore.expire``."""
    expired = []
    for state in states(transaction.db, OVERDUE, (now, limit)):
        ended = end_pending(transaction, state, Result.EXPIRED, now)
        if ended is not None:
            has_left = state.due_at is not None
            expired.append(Expired(state.id, state.lane, ended[0].work, has_left))
    return tuple(expired)


def next_expiry(db: apsw.Connection) -> datetime | None:
    """Return when the next waiting message expires."""
    at: int | None = value(db, NEXT_EXPIRY)
    return instant(at)
