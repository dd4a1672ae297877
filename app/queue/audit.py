"""Keeps who did what by an operator's word, and which tenants are paused by one.

A row of the audit is written in the transaction of what it tells, so that neither is ever there without the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import apsw

from app.queue.asking import row, rows
from app.queue.codec import instant, printable
from app.queue.first_aid import AuditPage, AuditRow, Paused
from app.queue.writer import Transaction

# Add a row to the audit; what is told again of the same act replaces its detail.
NOTE: Final = """
INSERT INTO audit (id, at, who, action, target, detail) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET detail = excluded.detail
"""

# The rows behind a place, the newest first.
OLDER: Final = "SELECT seq, id, at, who, action, target, detail FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?"

# The rows before a place, the oldest first.
NEWER: Final = "SELECT seq, id, at, who, action, target, detail FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"

# Keep that a tenant is paused; one that was stays as it was.
PAUSE: Final = "INSERT INTO paused (tenant, who, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

# Forget that a tenant was paused.
RESUME: Final = "DELETE FROM paused WHERE tenant = ?"

# The paused tenants.
PAUSED: Final = "SELECT tenant, who, since FROM paused ORDER BY tenant"

_AHEAD_OF_ALL: Final = 2**62


class Note(NamedTuple):
    """A row to be; ``at`` in microseconds. The same ``id`` twice is one act, told again."""

    id: str
    at: int
    who: str
    action: str
    target: str
    detail: str | None = None


def note(db: apsw.Connection, told: Note) -> None:
    """Write a row of the audit."""
    words = (printable(told.who), told.action, printable(told.target), printable(told.detail))
    db.execute(NOTE, (told.id, told.at, *words))


def page(db: apsw.Connection, limit: int, after: int | None, before: int | None) -> AuditPage:
    """Return up to ``limit`` rows, newest first, behind the place ``after`` or before the place ``before``."""
    if before is None:
        found = rows(db, OLDER, (_AHEAD_OF_ALL if after is None else after, limit + 1))
    else:
        found = rows(db, NEWER, (before, limit + 1))
    more = len(found) > limit
    found = sorted(found[:limit], reverse=True)
    if not found:
        return AuditPage((), None, None)
    newest, oldest = found[0][0], found[-1][0]
    older = more if before is None else row(db, OLDER, (oldest, 1)) is not None
    newer = more if before is not None else row(db, NEWER, (newest, 1)) is not None
    told = tuple(
        AuditRow(id_, instant(at), who, action, target, detail) for _, id_, at, who, action, target, detail in found
    )
    return AuditPage(told, oldest if older else None, newest if newer else None)


def pause(transaction: Transaction, tenant: str, told: Note) -> bool:
    """Pause a tenant; whether it was not paused before."""
    db = transaction.db
    db.execute(PAUSE, (tenant, printable(told.who), told.at))
    is_new = db.changes() == 1
    note(db, told if is_new else told._replace(detail="it was paused already"))
    return is_new


def resume(transaction: Transaction, tenant: str, told: Note) -> bool:
    """Pause a tenant no longer; whether it was paused."""
    db = transaction.db
    db.execute(RESUME, (tenant,))
    was_paused = db.changes() == 1
    note(db, told if was_paused else told._replace(detail="it was not paused"))
    return was_paused


def paused(db: apsw.Connection) -> tuple[Paused, ...]:
    """Return the paused tenants by name."""
    return tuple(Paused(tenant, who, instant(since)) for tenant, who, since in rows(db, PAUSED))
