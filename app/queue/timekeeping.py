"""Keeps how the two clocks stood to each other, and moves due times when the wall clock has jumped.

A due time that a schedule set is a wait, not an appointment: it moves with the clock. One that a caller named
(``scheduled_at``) is an appointment and stays. The move is made in small steps; one that a crash cut in half is made
again, and what moved twice is merely tried earlier.
"""

from __future__ import annotations

from typing import Final

import apsw

from app.queue.asking import row, rows
from app.queue.codec import instant, micros
from app.queue.rows import ClockSeen
from app.queue.writer import Transaction

_NEVER: Final = 2**62

#: Rows of one step, so that no accept waits long behind it.
STEP_ROWS: Final = 500

# How the clocks stood to each other.
SEEN: Final = "SELECT boot_id, boot, wall FROM clock WHERE id = 1"

# Keep how they stand now.
SEE: Final = """
INSERT INTO clock (id, boot_id, boot, wall) VALUES (1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id, boot = excluded.boot, wall = excluded.wall
"""

# Waiting messages whose due time lies after an instant and is no appointment, but for those that came or were tried
# after another: their due times were set by the new time already.
DUE_AFTER: Final = """
SELECT m.seq, m.due_at FROM messages AS m INDEXED BY messages_waiting
WHERE m.due_at IS NOT NULL AND m.due_at > ?1 AND (m.scheduled_at IS NULL OR m.due_at <> m.scheduled_at)
    AND m.created_at <= ?2
    AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.message = m.seq AND a.ended_at > ?2)
"""

# The same of messages that an operator holds: the due time that they will have again.
KEPT_AFTER: Final = """
SELECT seq, kept_due_at FROM messages INDEXED BY messages_kept
WHERE kept_due_at IS NOT NULL AND kept_due_at > ? AND (scheduled_at IS NULL OR kept_due_at <> scheduled_at)
"""

# Move the due time of a message that still waits, or is held, as it was.
MOVE: Final = """
UPDATE messages SET due_at = due_at + ?1, kept_due_at = kept_due_at + ?1
WHERE seq = ?2 AND coalesce(due_at, kept_due_at) = ?3
"""


def seen(db: apsw.Connection) -> ClockSeen | None:
    """Return how the clocks stood to each other when last seen."""
    found = row(db, SEEN)
    return None if found is None else ClockSeen(found[0], found[1], instant(found[2]))


def see(transaction: Transaction, clocks: ClockSeen) -> None:
    """Keep how the clocks stand to each other."""
    transaction.db.execute(SEE, (clocks.boot_id, clocks.boot, micros(clocks.wall)))


def due_after(db: apsw.Connection, at: int, by: int) -> list[tuple[int, int]]:
    """Return place and due time of the messages that a jump concerns: after ``at``, by so many microseconds.

    After a jump forward whatever happened since carries times behind ``at``; after one back nothing tells it apart.
    """
    return [*rows(db, DUE_AFTER, (at, at if by > 0 else _NEVER)), *rows(db, KEPT_AFTER, (at,))]


def move_step(transaction: Transaction, found: list[tuple[int, int]], by: int) -> int:
    """Move some due times by so many microseconds; return how many still stood as they were found."""
    before = transaction.db.total_changes()
    transaction.db.executemany(MOVE, [(by, seq, due_at) for seq, due_at in found])
    return transaction.db.total_changes() - before
