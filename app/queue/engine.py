"""Opens the files of a store: lock, connection, settings, recovery of the log, schema.

Everything that differs from a plain SQLite connection is set here, with the reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from app.queue.asking import value
from app.queue.contract import StoreError
from app.queue.keep import DOOM_ALL
from app.queue.lock import StoreLock, refuse_network
from app.queue.memory import Memory
from app.queue.migrate import known_migrations, migrate

# Somebody's shell may hold the file for a moment; nobody of ours does.
_BUSY_MILLISECONDS: Final = 5000
_WRITER_CACHE_KIB: Final = 16 * 1024
_READER_CACHE_KIB: Final = 4 * 1024
# After a burst the log file is cut back to this.
_LOG_BYTES: Final = 64 * 1024 * 1024

# Order matters: the first two settle the form of a new file and mean nothing to an old one. 4 KiB pages and content
# in a table with an index of its own were the fastest of what was measured (accept, pick and erase alike).
SETTINGS: Final = f"""
PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = {_LOG_BYTES};
PRAGMA cache_size = -{_WRITER_CACHE_KIB};
PRAGMA temp_store = MEMORY;
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """The files of an open store: the writing connection, what was read of it, and the lock."""

    path: Path
    db: apsw.Connection
    memory: Memory
    lock: StoreLock


def open_file(path: Path, now: int, vfs: str | None) -> Opened:
    """Open the store at ``path`` for writing; ``now`` in microseconds. Blocks. Raises ``StoreError``."""
    if not path.parent.is_dir():
        raise StoreError("storage-unavailable", f"the folder of the store {path} does not exist")
    refuse_network(path)
    try:
        lock = StoreLock(path)
    except OSError as error:
        raise StoreError("storage-unavailable", f"the lock of the store {path} cannot be taken: {error}") from error
    try:
        # Ours alone from the first moment on: there is mail in it. The log takes the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = connect(path, vfs, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            return Opened(path, db, _prepared(db, now), lock)
        except BaseException:
            db.close()
            raise
    except (OSError, apsw.Error) as error:
        lock.release()
        raise StoreError("storage-unavailable", f"the store {path} cannot be opened: {error}") from error
    except BaseException:
        lock.release()
        raise


def _prepared(db: apsw.Connection, now: int) -> Memory:
    db.execute(SETTINGS).fetchall()
    mode = value(db, "PRAGMA journal_mode")
    if mode != "wal":
        raise StoreError("storage-unavailable", f"the file system cannot hold a write-ahead log (mode {mode})")
    # Nothing of an earlier process may rest on its unsynced writes: all of the log is written and synced anew.
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    migrate(db, now, known_migrations())
    db.execute(DOOM_ALL)
    return Memory(db)


def open_reader(path: Path, vfs: str | None) -> apsw.Connection:
    """Open a read-only connection that never moves pages of the log, not even when it closes."""
    db = connect(path, vfs, apsw.SQLITE_OPEN_READONLY)
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}").fetchall()
    return db


def connect(path: Path, vfs: str | None, flags: int) -> apsw.Connection:
    """Open a connection for one thread at a time, with room for every prepared statement."""
    db = apsw.Connection(str(path), flags=flags | apsw.SQLITE_OPEN_NOMUTEX, vfs=vfs, statementcachesize=200)
    # A plan never depends on the values that are bound: stable, and no statement is compiled twice.
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    db.set_busy_timeout(_BUSY_MILLISECONDS)
    db.wal_autocheckpoint(0)
    return db
