"""Keeps what must survive a restart about mailboxes: which are parked, and the secret of credential fingerprints."""

from __future__ import annotations

import os
from typing import Final

import apsw

from app.queue.asking import rows, value
from app.queue.codec import instant, micros, printable
from app.queue.rows import ParkedRow
from app.queue.writer import Transaction

# The parked mailboxes.
PARKED: Final = """
SELECT mailbox, reason, cause, cure, since, until, fingerprint, probes, probe_at FROM parked ORDER BY mailbox
"""

# Keep that a mailbox is parked, or what changed about it.
PARK: Final = """
INSERT INTO parked (mailbox, reason, cause, cure, since, until, fingerprint, probes, probe_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (mailbox) DO UPDATE
SET reason = excluded.reason, cause = excluded.cause, cure = excluded.cure, since = excluded.since,
    until = excluded.until, fingerprint = excluded.fingerprint, probes = excluded.probes, probe_at = excluded.probe_at
"""

# Forget that a mailbox was parked.
RELEASE: Final = "DELETE FROM parked WHERE mailbox = ?"

# A secret of this store.
FIND_KEPT: Final = "SELECT value FROM secrets WHERE name = ?"

# Keep a secret, unless there is one.
KEEP: Final = "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING"

_FINGERPRINT: Final = "fingerprint"


def parked(db: apsw.Connection) -> tuple[ParkedRow, ...]:
    """Return the parked mailboxes by name."""
    return tuple(
        ParkedRow(mailbox, reason, cause, cure, instant(since), instant(until), fingerprint, probes, instant(probe_at))
        for mailbox, reason, cause, cure, since, until, fingerprint, probes, probe_at in rows(db, PARKED)
    )


def park(transaction: Transaction, row: ParkedRow) -> None:
    """Keep that a mailbox is parked."""
    words = (printable(row.reason), printable(row.cause), printable(row.cure))
    times = (micros(row.since), micros(row.until))
    kept = (row.mailbox, *words, *times, row.fingerprint, row.probes, micros(row.probe_at))
    transaction.db.execute(PARK, kept)


def release(transaction: Transaction, mailbox: str) -> bool:
    """Forget that a mailbox was parked; whether it was."""
    transaction.db.execute(RELEASE, (mailbox,))
    return transaction.db.changes() == 1


def fingerprint_key(transaction: Transaction) -> bytes:
    """Return the secret of credential fingerprints; the first call makes it."""
    transaction.db.execute(KEEP, (_FINGERPRINT, os.urandom(32)))
    return bytes(value(transaction.db, FIND_KEPT, (_FINGERPRINT,)))
