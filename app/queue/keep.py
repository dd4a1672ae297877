"""Keeps house: erases content and forgets messages past their retention, and gives pages back, in small steps.

One step is one job of the writer, bounded in rows and octets, so that an accept never waits long behind it. What a
step did not finish the next one, or the next start, goes on with.
"""

from __future__ import annotations

from typing import Final

import apsw

from app.mail.message import Work
from app.queue.asking import rows, value
from app.queue.writer import Transaction

# Bounds of one step: a few milliseconds on a slow disk.
STEP_ROWS: Final = 64
STEP_BYTES: Final = 2 * 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024
# Pages are given back when so many are free, and a quarter of the file is; what is left is room to breathe.
_SPARE_PAGES: Final = 4096
_STEP_PAGES: Final = 128

# Done messages of one status whose content is kept and past its retention, the longest first.
CONTENT_DUE: Final = """
SELECT seq, body, size FROM messages INDEXED BY messages_content
WHERE done_at IS NOT NULL AND body IS NOT NULL AND status = ? AND done_at <= ? ORDER BY done_at LIMIT ?
"""

# A message has no content any more.
DROP_BODY: Final = "UPDATE messages SET body = NULL WHERE seq = ?"

# Content of nobody: deleted bit by bit.
ADD_DOOMED: Final = "INSERT INTO loose (body, message) VALUES (?, NULL)"

# Delete content at once.
DELETE_CONTENT: Final = "DELETE FROM content WHERE body = ?"

# A body that is to be deleted.
NEXT_DOOMED: Final = "SELECT body FROM loose WHERE message IS NULL LIMIT 1"

# Delete some chunks of a body.
DELETE_CHUNKS: Final = """
DELETE FROM content WHERE rowid IN (SELECT rowid FROM content WHERE body = ? ORDER BY no LIMIT ?)
"""

# Nothing is left of a body.
DROP_LOOSE: Final = "DELETE FROM loose WHERE body = ?"

# What was still arriving when the process ended never will be whole.
DOOM_ALL: Final = "UPDATE loose SET message = NULL WHERE message IS NOT NULL"

# Done messages past their retention, the oldest first.
FORGETTABLE: Final = """
SELECT m.seq, m.tenant, m.body, l.tags FROM messages AS m INDEXED BY messages_done
CROSS JOIN letters AS l ON l.message = m.seq
WHERE m.done_at IS NOT NULL AND m.done_at <= ? ORDER BY m.done_at LIMIT ?
"""

# Forget the tags of a message.
FORGET_TAGS: Final = """
DELETE FROM tags WHERE message = ?1 AND tenant = ?2 AND (name, value) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?3)
)
"""

# Forget a message and what belongs to it.
FORGET: Final = (
    "DELETE FROM events WHERE message = ?",
    "DELETE FROM attempts WHERE message = ?",
    "DELETE FROM recipients WHERE message = ?",
    "DELETE FROM letters WHERE message = ?",
    "DELETE FROM messages WHERE seq = ?",
)

# Forget idempotency keys past their retention.
FORGET_KEYS: Final = """
DELETE FROM idempotency WHERE rowid IN (
    SELECT rowid FROM idempotency INDEXED BY idempotency_created WHERE created_at <= ? LIMIT ?
)
"""

# How a message that is done can show itself, other than as sent.
_OTHER_ENDS: Final = ("unknown", "partially_sent", "expired", "canceled", "failed")


def erase_step(transaction: Transaction, before: tuple[int, int], limit: int) -> int:
    """Erase the content of up to ``limit`` messages, sent or otherwise done before two instants; how many were done."""
    db = transaction.db
    erased = 0
    octets = 0
    for status, at in (("sent", before[0]), *((end, before[1]) for end in _OTHER_ENDS)):
        for seq, body, size in rows(db, CONTENT_DUE, (status, at, limit - erased)):
            octets += size
            if octets > STEP_BYTES and erased:
                return erased
            db.execute(DROP_BODY, (seq,))
            _drop(db, body, size)
            erased += 1
        if erased >= limit:
            break
    return erased


def _drop(db: apsw.Connection, body: int, size: int) -> None:
    if size <= STEP_BYTES:
        db.execute(DELETE_CONTENT, (body,))
    else:
        db.execute(ADD_DOOMED, (body,))


def sweep_step(transaction: Transaction) -> bool:
    """Delete some chunks of content that belongs to nobody; whether there may be more."""
    db = transaction.db
    body = value(db, NEXT_DOOMED)
    if body is None:
        return False
    db.execute(DELETE_CHUNKS, (body, STEP_BYTES // _CHUNK_BYTES))
    if db.changes() == 0:
        db.execute(DROP_LOOSE, (body,))
    return True


def forget_step(transaction: Transaction, before: int, limit: int) -> int:
    """Forget up to ``limit`` messages that were done before an instant; how many were."""
    db = transaction.db
    found = rows(db, FORGETTABLE, (before, limit))
    for seq, tenant, body, tags in found:
        if body is not None:
            db.execute(ADD_DOOMED, (body,))
        if tags != "[]":
            db.execute(FORGET_TAGS, (seq, tenant, tags))
        for statement in FORGET:
            db.execute(statement, (seq,))
        transaction.memory.moved(Work.DONE, None)
    return len(found)


def forget_keys_step(transaction: Transaction, before: int, limit: int) -> int:
    """Forget up to ``limit`` idempotency keys older than an instant; how many were."""
    transaction.db.execute(FORGET_KEYS, (before, limit))
    return transaction.db.changes()


def shrink_step(transaction: Transaction) -> bool:
    """Give some free pages back to the disk; whether more should be."""
    db = transaction.db
    free = value(db, "PRAGMA freelist_count")
    total = value(db, "PRAGMA page_count")
    if free < _SPARE_PAGES or free * 4 < total:
        return False
    db.execute(f"PRAGMA incremental_vacuum({_STEP_PAGES})").fetchall()
    return True
