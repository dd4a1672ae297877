"""Keeps what the breaker must know after a restart: senders, refusals of a mailbox, refused addresses.

What an attempt changed is written in the transaction that settles it (``keep``), so that no refusal is on disk without
its consequence. Rows whose time is over go when others of their kind come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import apsw

from app.queue.asking import rows
from app.queue.codec import compact, instant, micros, packed, printable, span, unpacked
from app.queue.readers import Readers
from app.queue.sender_rows import (
    FamilyRefusal,
    Held,
    RefusedAddress,
    SenderChange,
    SenderRecords,
    SenderRow,
    Strikes,
)
from app.queue.writer import Transaction, Writer

# Every sender of whom something is known.
SENDERS: Final = """
SELECT s.pair, t.name, p.sender_key, s.revision, s.is_proven, s.last_success_at, s.strikes,
    s.held_since, s.held_reason, s.cause, s.cure
FROM senders AS s
CROSS JOIN pairs AS p ON p.id = s.pair
CROSS JOIN tenants AS t ON t.id = p.tenant
"""

# Keep what is known of a sender, unless something later is kept already.
KEEP_SENDER: Final = """
INSERT INTO senders (pair, revision, is_proven, last_success_at, strikes, held_since, held_reason, cause, cure)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pair) DO UPDATE
SET revision = excluded.revision, is_proven = excluded.is_proven, last_success_at = excluded.last_success_at,
    strikes = excluded.strikes, held_since = excluded.held_since, held_reason = excluded.held_reason,
    cause = excluded.cause, cure = excluded.cure
WHERE excluded.revision > senders.revision
"""

# The refusals of mailboxes that are still kept.
REFUSALS: Final = "SELECT attempt, mailbox, family, at, boot_id, boot FROM family_refusals ORDER BY at"

# Keep a refusal of a mailbox; the same transaction is one however often it is told.
KEEP_REFUSAL: Final = """
INSERT INTO family_refusals (attempt, family, mailbox, at, boot_id, boot) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""

# Forget refusals before an instant.
FORGET_REFUSALS: Final = "DELETE FROM family_refusals INDEXED BY family_refusals_at WHERE at < ?"

# The addresses that are refused beyond an instant.
ADDRESSES: Final = """
SELECT connection, key, pair, reply, cause, cure, until
FROM refused_addresses INDEXED BY refused_addresses_until WHERE until > ?
"""

# Keep that an address is refused.
KEEP_ADDRESS: Final = """
INSERT INTO refused_addresses (connection, key, pair, reply, cause, cure, until) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (connection, key) DO UPDATE
SET pair = excluded.pair, reply = excluded.reply, cause = excluded.cause, cure = excluded.cure, until = excluded.until
"""

# Forget addresses whose time is over.
FORGET_ADDRESSES: Final = "DELETE FROM refused_addresses INDEXED BY refused_addresses_until WHERE until <= ?"

# Forget the addresses that a sender learnt.
FORGET_LEARNT: Final = "DELETE FROM refused_addresses INDEXED BY refused_addresses_pair WHERE pair = ?"

# A refusal counts for ten minutes; the rest is room for a wall clock that jumps.
_REFUSALS_KEPT: Final = span(timedelta(hours=24))


class SqliteSenders:
    """Keeps the promise of ``SenderStore`` with the threads of a store."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def read(self, now: datetime) -> SenderRecords:
        """Return everything that is kept and not over."""
        return await self._readers.do(lambda db: read(db, micros(now)))

    async def release(self, sender: SenderRow) -> None:
        """Keep a sender's new start, and forget the addresses it learnt."""
        await self._writer.do("sender", lambda t: release(t, sender))


def read(db: apsw.Connection, now: int) -> SenderRecords:
    """Return everything that is kept and not over; ``now`` in microseconds."""
    return SenderRecords(
        senders=tuple(_sender(*found) for found in rows(db, SENDERS)),
        refusals=tuple(
            FamilyRefusal(attempt, mailbox, family, instant(at), boot_id, boot)
            for attempt, mailbox, family, at, boot_id, boot in rows(db, REFUSALS)
        ),
        addresses=tuple(_address(*found) for found in rows(db, ADDRESSES, (now,))),
    )


def keep(transaction: Transaction, change: SenderChange, now: int) -> None:
    """Write what an attempt changed; ``now`` in microseconds."""
    db = transaction.db
    if change.sender is not None:
        _keep_sender(db, change.sender)
    if change.refusals:
        db.execute(FORGET_REFUSALS, (now - _REFUSALS_KEPT,))
        kept = [(each.attempt, each.family, each.mailbox, micros(each.at)) for each in change.refusals]
        clocks = [(each.boot_id, each.boot) for each in change.refusals]
        db.executemany(KEEP_REFUSAL, [(*row, *clock) for row, clock in zip(kept, clocks, strict=True)])
    if change.addresses:
        db.execute(FORGET_ADDRESSES, (now,))
        db.executemany(KEEP_ADDRESS, [_packed(each) for each in change.addresses])


def release(transaction: Transaction, sender: SenderRow) -> None:
    """Keep a sender's new start, and forget the addresses it learnt."""
    _keep_sender(transaction.db, sender)
    transaction.db.execute(FORGET_LEARNT, (sender.pair,))


def _keep_sender(db: apsw.Connection, sender: SenderRow) -> None:
    held = sender.held
    why = (
        (None,) * 4 if held is None else (micros(held.since), held.reason, printable(held.cause), printable(held.cure))
    )
    strikes = _strikes_text(sender.strikes)
    known = (sender.pair, sender.revision, sender.is_proven, micros(sender.last_success_at), strikes)
    db.execute(KEEP_SENDER, (*known, *why))


def _strikes_text(strikes: Mapping[str, Strikes]) -> str:
    return compact({family: [each.count, micros(each.last_at)] for family, each in strikes.items()})


def _sender(
    pair: int,
    tenant: str,
    sender_key: str,
    revision: int,
    is_proven: int,
    last_success: int | None,
    strikes: str,
    held_since: int | None,
    reason: str | None,
    cause: str | None,
    cure: str | None,
) -> SenderRow:
    counted = {family: Strikes(count, instant(at)) for family, (count, at) in json.loads(strikes).items()}
    held = None if held_since is None else Held(reason or "", cause or "", cure or "", instant(held_since))
    return SenderRow(pair, tenant, sender_key, revision, bool(is_proven), instant(last_success), counted, held)


def _packed(each: RefusedAddress) -> tuple[object, ...]:
    words = (packed(each.reply), printable(each.cause), printable(each.cure))
    return (each.connection, printable(each.key), each.pair, *words, micros(each.until))


def _address(
    connection: str, key: str, pair: int, reply: str, cause: str | None, cure: str | None, until: int
) -> RefusedAddress:
    told = unpacked(reply)
    assert told is not None  # noqa: S101 - the column is never null
    return RefusedAddress(connection, key, pair, told, cause, cure, instant(until))
