"""Copies a store while it is in use, and checks that it is whole.

Both read on a connection of their own, so they need neither the lock nor the process that has the store open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from app.queue.asking import rows, value
from app.queue.engine import open_reader
from app.queue.writer import translated

# Pages copied at a time; the copy is of one moment all the same.
_STEP_PAGES: Final = 4096

# What must be true of every store: a sentence that says what is wrong, and how many rows are.
INVARIANTS: Final = {
    "messages count their recipients wrongly": """
        SELECT count(*) FROM messages AS m WHERE (recipients, pending, sent, unknown, expired, canceled) <> (
            SELECT count(*), count(*) FILTER (WHERE result = 'pending'), count(*) FILTER (WHERE result = 'sent'),
                count(*) FILTER (WHERE result = 'unknown'), count(*) FILTER (WHERE result = 'expired'),
                count(*) FILTER (WHERE result = 'canceled')
            FROM recipients AS r WHERE r.message = m.seq
        )
    """,
    "messages are sending without an open attempt": """
        SELECT count(*) FROM messages AS m WHERE work = 'sending' AND NOT EXISTS (
            SELECT 1 FROM attempts AS a WHERE a.id = m.attempt AND a.message = m.seq AND a.ended_at IS NULL
        )
    """,
    "messages count their attempts wrongly": """
        SELECT count(*) FROM messages AS m WHERE (attempts, tries) <> (
            SELECT count(*), count(*) FILTER (WHERE counted = 1) FROM attempts AS a WHERE a.message = m.seq
        )
    """,
    "messages with something pending have no content": """
        SELECT count(*) FROM messages AS m WHERE pending > 0
            AND NOT EXISTS (SELECT 1 FROM content AS c WHERE c.body = m.body)
    """,
    "messages have no letter": """
        SELECT count(*) FROM messages AS m WHERE NOT EXISTS (SELECT 1 FROM letters AS l WHERE l.message = m.seq)
    """,
    "messages have no first event": """
        SELECT count(*) FROM messages AS m WHERE NOT EXISTS (SELECT 1 FROM events AS e WHERE e.message = m.seq)
    """,
    "chunks belong to nobody": """
        SELECT count(*) FROM content AS c
        WHERE NOT EXISTS (SELECT 1 FROM loose AS l WHERE l.body = c.body)
            AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.body = c.body)
    """,
    "recipients, attempts or events belong to no message": """
        SELECT count(*) FROM (
            SELECT message FROM recipients UNION SELECT message FROM attempts UNION SELECT message FROM events
            UNION SELECT message FROM letters UNION SELECT message FROM tags
        ) AS child WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.seq = child.message)
    """,
}


def copy(store: Path, target: Path, vfs: str | None = None) -> None:
    """Write a copy of the store as it is now to ``target``, in its place only once it is whole and on disk.

    Blocks; the store goes on meanwhile. Raises ``StoreError`` and leaves nothing behind then.
    """
    partial = target.with_name(target.name + ".partial")
    with _translating():
        try:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            _copy(store, partial, vfs)
            _sync(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        _sync(target.parent)


def _copy(store: Path, partial: Path, vfs: str | None) -> None:
    source = open_reader(store, vfs)
    try:
        destination = apsw.Connection(str(partial))
        try:
            # Inside one reading transaction every step sees the same moment.
            rows(source, "BEGIN")
            value(source, "SELECT count(*) FROM schema_version")
            with destination.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(_STEP_PAGES)
            # A copy is one file.
            rows(destination, "PRAGMA journal_mode = DELETE")
        finally:
            destination.close()
    finally:
        source.close()


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise translated(error) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def problems(store: Path, vfs: str | None = None) -> tuple[str, ...]:
    """Return what is wrong with the store: the engine's own check, then the invariants. Empty: nothing.

    Blocks. Raises ``StoreError``.
    """
    with _translating():
        db = open_reader(store, vfs)
        try:
            found = [line for (line,) in rows(db, "PRAGMA integrity_check") if line != "ok"]
            for sentence, statement in INVARIANTS.items():
                count = value(db, statement)
                if count:
                    found.append(f"{count} {sentence}")
            return tuple(found)
        finally:
            db.close()
