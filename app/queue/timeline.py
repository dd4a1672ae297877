"""Writes the timeline of messages: lines are added, never changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import apsw

# Add a line to a message's timeline.
ADD_EVENT: Final = """
INSERT INTO events (message, type, at, attempt, recipient, reply, cause, cure, next_attempt_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Event(NamedTuple):
    """A line to be: ``attempt`` is a number within the message, ``recipient`` a place; instants in microseconds."""

    message: int
    type: str
    at: int
    attempt: int | None = None
    recipient: int | None = None
    reply: str | None = None
    cause: str | None = None
    cure: str | None = None
    next_attempt_at: int | None = None


def add_events(db: apsw.Connection, events: Iterable[Event]) -> None:
    """Add lines in their order."""
    db.executemany(ADD_EVENT, events)
