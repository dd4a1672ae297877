"""Moves a message on after its recipients changed: counts, work state and times, written together.

Every way of changing a message (a settlement, an expiry, a person's request) changes recipients first and then comes
here. Where a message goes is decided by a plain function; the write expects the state that was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import apsw

from app.mail.message import Priority, Result, Work
from app.queue.asking import Row, rows
from app.queue.rows import LaneKey
from app.queue.writer import Transaction

_COLUMNS: Final = """
m.seq, m.id, m.pair, m.priority, m.due_at, m.created_at, m.attempt, m.unknown, m.body, m.work, m.hold_unknown,
m.kept_work IS NOT NULL, m.recipients
"""

# An attempt's number and how it ended, if it has, with the state of its message.
BY_ATTEMPT: Final = f"""
SELECT a.number, a.outcome, {_COLUMNS} FROM attempts AS a CROSS JOIN messages AS m ON m.seq = a.message WHERE a.id = ?
"""  # noqa: S608 - only constants of this file

# A message's state, by its public id and its tenant.
BY_ID: Final = f"""
SELECT {_COLUMNS} FROM messages AS m WHERE m.id = ? AND m.tenant = (SELECT id FROM tenants WHERE name = ?)
"""  # noqa: S608 - only constants of this file

# A message's state, by its place.
BY_PLACE: Final = f"SELECT {_COLUMNS} FROM messages AS m WHERE m.seq = ?"  # noqa: S608 - only constants of this file

# The messages whose time is over and of which something is pending, the longest overdue first.
OVERDUE: Final = f"""
SELECT {_COLUMNS} FROM messages AS m INDEXED BY messages_expiry
WHERE m.pending > 0 AND m.work <> 'sending' AND m.expires_at <= ? ORDER BY m.expires_at LIMIT ?
"""  # noqa: S608 - only constants of this file

# The results of a message's recipients, in their order.
RESULTS: Final = "SELECT result FROM recipients WHERE message = ? ORDER BY no"

# Move a message on; expects the work state that was read. A message is done since the first time it was. An operator
# holds it no longer once it leaves that state or nothing of it is pending.
MOVE: Final = """
UPDATE messages
SET work = ?3, due_at = ?4, attempt = ?5, done_at = CASE WHEN ?3 = 'done' THEN coalesce(done_at, ?6) END,
    hold_unknown = ?7, tries = tries + ?8, unknowns = unknowns + ?9,
    pending = ?10, sent = ?11, unknown = ?12, expired = ?13, canceled = ?14,
    kept_work = CASE WHEN ?3 = 'held' AND ?10 > 0 THEN kept_work END
WHERE seq = ?1 AND work = ?2
"""

# Which results of its recipients a message counts, in the order of its columns.
COUNTED: Final = (Result.PENDING, Result.SENT, Result.UNKNOWN, Result.EXPIRED, Result.CANCELED)


@dataclass(frozen=True, slots=True)
class State:
    """A message as far as moving it is concerned; instants in microseconds.

    ``is_kept``: an operator holds it. ``recipients`` says how many it has.
    """

    seq: int
    id: str
    pair: int
    priority: int
    due_at: int | None
    created_at: int
    attempt: int | None
    unknown: int
    body: int | None
    work: Work
    hold_unknown: bool
    is_kept: bool = False
    recipients: int = 0

    @property
    def lane(self) -> LaneKey:
        """Where it waits, or would."""
        return LaneKey(self.pair, Priority(self.priority))


@dataclass(frozen=True, slots=True)
class Next:
    """Where a message goes: its work state, when it is due if it waits, and what the attempt adds to its counts."""

    work: Work
    due_at: int | None = None
    hold_unknown: bool = False
    tries: int = 0
    unknowns: int = 0


def states(db: apsw.Connection, statement: str, bindings: Sequence[str | int]) -> list[State]:
    """Return the states that one of the statements above finds."""
    return [state_of(found) for found in rows(db, statement, bindings)]


def state_of(columns: Row) -> State:
    """Return the state that a row tells."""
    seq, id_, pair, priority, due, created, attempt, unknown, body, work, hold, kept, recipients = columns
    word = Work(work)
    return State(
        seq, id_, pair, priority, due, created, attempt, unknown, body, word, bool(hold), bool(kept), recipients
    )


def results_of(db: apsw.Connection, seq: int) -> tuple[Result, ...]:
    """Return the results of a message's recipients, in their order."""
    return tuple(Result(result) for (result,) in rows(db, RESULTS, (seq,)))


def unmoved(state: State) -> Next:
    """Leave a message where it is."""
    return Next(state.work, state.due_at, state.hold_unknown)


def at_rest(state: State, results: Sequence[Result]) -> Next:
    """Decide where a message goes of which nothing is pending: an unknown that is held for a person stays held."""
    holds = Result.UNKNOWN in results and (state.hold_unknown or (state.work is Work.HELD and not state.is_kept))
    return Next(Work.HELD if holds else Work.DONE, None, holds)


def move(transaction: Transaction, state: State, goal: Next, results: Sequence[Result], now: int) -> None:
    """Write where a message goes, and its recipients' counts. It keeps its attempt only where it goes on sending."""
    transaction.db.execute(
        MOVE,
        (
            state.seq,
            state.work.value,
            goal.work.value,
            goal.due_at,
            state.attempt if goal.work is Work.SENDING else None,
            now,
            goal.hold_unknown,
            goal.tries,
            goal.unknowns,
            *map(results.count, COUNTED),
        ),
    )
    transaction.memory.moved(state.work, goal.work)
