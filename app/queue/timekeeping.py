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

#: Rows of one step, so that no accept waits long behind it.
STEP_ROWS: Final = 500

# How the clocks stood to each other.
SEEN: Final = "SELECT boot_id, boot, wall FROM clock WHERE id = 1"

# Keep how they stand now.
SEE: Final = """
INSERT INTO clock (id, boot_id, boot, wall) VALUES (1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id, boot = excluded.boot, wall = excluded.wall
"""

# Waiting messages whose due time lies after an instant and is no appointment.
DUE_AFTER: Final = """
SELECT seq, due_at FROM messages INDEXED BY messages_waiting
WHERE due_at IS NOT NULL AND due_at > ? AND (scheduled_at IS NULL OR due_at <> scheduled_at)
"""

# Move the due time of a message that still waits as it did.
MOVE: Final = "UPDATE messages SET due_at = due_at + ? WHERE seq = ? AND due_at = ?"


def seen(db: apsw.Connection) -> ClockSeen | None:
    """Return how the clocks stood to each other when last seen."""
    found = row(db, SEEN)
    return None if found is None else ClockSeen(found[0], found[1], instant(found[2]))


def see(transaction: Transaction, clocks: ClockSeen) -> None:
    """Keep how the clocks stand to each other."""
    transaction.db.execute(SEE, (clocks.boot_id, clocks.boot, micros(clocks.wall)))


def due_after(db: apsw.Connection, at: int) -> list[tuple[int, int]]:
    """Return place and due time of the messages that a jump concerns."""
    return [(seq, due_at) for seq, due_at in rows(db, DUE_AFTER, (at,))]


def move_step(transaction: Transaction, found: list[tuple[int, int]], by: int) -> int:
    """Move some due times by so many microseconds; return how many still stood as they were found."""
    before = transaction.db.total_changes()
    transaction.db.executemany(MOVE, [(by, seq, due_at) for seq, due_at in found])
    return transaction.db.total_changes() - before
