"""Holds, releases and cancels messages by an operator's word, a few in one transaction.

A message that waits is held with the due time it had, and goes back to it. One that is held for an unknown outcome has
nothing to release: it was handed over, and sending it again is the decision that ``resolve`` asks a person for. One
that is being sent is not held (it has its reply soon); it is canceled only while no hand-over mark is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from app.mail.message import Result, Work
from app.queue.asking import row
from app.queue.codec import instant
from app.queue.first_aid import Deed, Moved
from app.queue.moves import BY_PLACE, State, states
from app.queue.requests import end_pending, is_marked
from app.queue.timeline import Event, add_events
from app.queue.writer import Transaction

# Whose messages a pair's are.
PAIR: Final = "SELECT t.name, p.sender_key FROM pairs AS p JOIN tenants AS t ON t.id = p.tenant WHERE p.id = ?"

# Hold a message that waits; where it came from and when it was due stay with it.
HOLD: Final = """
UPDATE messages SET work = 'held', kept_work = work, kept_due_at = due_at, due_at = NULL
WHERE seq = ? AND due_at IS NOT NULL
"""

# Let a held message of which something is pending wait again as it did before. Returns where, and when it is due.
RELEASE: Final = """
UPDATE messages
SET work = coalesce(kept_work, 'queued'), due_at = coalesce(kept_due_at, ?2), kept_work = NULL, kept_due_at = NULL
WHERE seq = ?1 AND work = 'held' AND pending > 0
RETURNING work, due_at
"""

_HELD: Final = "an operator holds it"
_RELEASED: Final = "an operator released it"
_CANCELED: Final = "an operator canceled it"


def step(transaction: Transaction, deed: Deed, seqs: Sequence[int], now: int) -> tuple[Moved, ...]:
    """Do something to the messages at these places; what has changed. ``now`` in microseconds."""
    act = _ACTS[deed]
    moved = []
    for seq in seqs:
        for state in states(transaction.db, BY_PLACE, (seq,)):
            changed = act(transaction, state, now)
            if changed is not None:
                moved.append(changed)
    return tuple(moved)


def hold(transaction: Transaction, state: State, now: int) -> Moved | None:
    """Hold a message that waits."""
    db = transaction.db
    db.execute(HOLD, (state.seq,))
    if db.changes() != 1:
        return None
    transaction.memory.moved(state.work, Work.HELD)
    add_events(db, [Event(state.seq, "held", now, cause=_HELD)])
    return _moved(transaction, state, left=True)


def release(transaction: Transaction, state: State, now: int) -> Moved | None:
    """Release a held message of which something is pending; one held for an unknown outcome alone stays."""
    db = transaction.db
    found = row(db, RELEASE, (state.seq, now))
    if found is None:
        return None
    work, due = found
    transaction.memory.moved(Work.HELD, Work(work))
    add_events(db, [Event(state.seq, "released", now, cause=_RELEASED, next_attempt_at=due)])
    return _moved(transaction, state, due_at=due)


def cancel(transaction: Transaction, state: State, now: int) -> Moved | None:
    """Cancel what is pending of a message, unless a hand-over mark is committed."""
    if is_marked(transaction.db, state):
        return None
    ended = end_pending(transaction, state, Result.CANCELED, now, _CANCELED)
    if ended is None:
        return None
    return _moved(transaction, state, left=state.due_at is not None, canceled=ended[1])


def _moved(
    transaction: Transaction, state: State, *, left: bool = False, due_at: int | None = None, canceled: int = 0
) -> Moved:
    found = row(transaction.db, PAIR, (state.pair,))
    tenant, sender_key = found or ("", "")
    return Moved(state.id, tenant, sender_key, state.lane, left, instant(due_at), canceled)


_ACTS: Final[Mapping[Deed, Callable[[Transaction, State, int], Moved | None]]] = {
    Deed.HOLD: hold,
    Deed.RELEASE: release,
    Deed.CANCEL: cancel,
}
