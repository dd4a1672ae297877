"""Reads the store beside the writer: a few threads, each with a read-only connection of its own.

A read sees everything that was committed before it began, and holds nothing up: it never waits for the writer and
never moves pages of the log.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from app.queue.contract import StoreError
from app.queue.writer import translated

T = TypeVar("T")


class Readers:
    """The reading connections and their threads."""

    def __init__(self, connect: Callable[[], apsw.Connection], threads: int) -> None:
        """Read by ``threads`` threads; ``connect`` opens a connection, in the thread that will use it."""
        self._connect = connect
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store-reader")
        self._closed = False
        self._unanswered = 0

    def __repr__(self) -> str:
        return f"<Readers {len(self._connections)} open>"

    @property
    def is_idle(self) -> bool:
        """Whether every read has been answered."""
        return not self._unanswered

    async def do(self, read: Callable[[apsw.Connection], T]) -> T:
        """Return what ``read`` returns, all its statements looking at one state of the store. Raises ``StoreError``."""
        if self._closed:
            raise StoreError("storage-unavailable", "the store is closed")
        self._unanswered += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read)
        finally:
            self._unanswered -= 1

    def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        try:
            db: apsw.Connection | None = getattr(self._local, "db", None)
            if db is None:
                db = self._local.db = self._connect()
                self._connections.append(db)
            db.execute("BEGIN")
            try:
                return read(db)
            finally:
                db.execute("COMMIT")
        except apsw.Error as error:
            raise translated(error) from error

    async def close(self) -> None:
        """Let running reads end and close the connections."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._pool.shutdown)
            for db in self._connections:
                db.close()
