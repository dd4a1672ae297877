"""The one thread that writes: what waits for it is committed together, and nobody hears of success before that is on
disk.

A job is a plain function of the transaction. All jobs of a batch share one ``BEGIN IMMEDIATE`` … ``COMMIT``; if one of
them fails, the batch is rolled back and each is tried again in a transaction of its own, so that one bad row fails
alone. A job that raises ``StoreError`` has written nothing: that is an answer, and its neighbours do not notice.

A full disk fails the jobs and nothing else. After an input or output error while writing, nothing that the system
still holds in memory may be taken for being on disk (a failed fsync marks lost pages as clean): the writer is broken
from then on, refuses everything, and says so by ``on_broken``, so that the process can end. The next start moves the
whole log into the main file by fresh writes, synced, before anything is served (``SqliteStore.open``).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import apsw

from app.kit.log import get_logger
from app.queue.contract import StoreError
from app.queue.memory import Memory

T = TypeVar("T")
_log = get_logger("store")

MAX_JOBS: Final = 256
MAX_BYTES: Final = 16 * 1024 * 1024
# A checkpoint after so many pages of log; about 10 ms of work, done when the batch has been answered.
_CHECKPOINT_PAGES: Final = 1000
# How long jobs that may wait are kept back for others that are about to come; the loop's timers know no less.
_PATIENCE: Final = 0.001

# What a commit may be interrupted at by a test: called with ``<kind>-before-commit`` and ``<kind>-after-commit``.
Reach = Callable[[str], None]
# Told after each batch: how many jobs it had and how many seconds it took.
Observe = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a job works with."""

    db: apsw.Connection
    memory: Memory


@dataclass(eq=False, slots=True)
class _Job:
    kind: str
    work: Callable[[Transaction], Any]
    weight: int
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


def _is_breaking(error: Exception) -> bool:
    """Whether what the system holds of the files can no longer be trusted. Reading alone spoils nothing."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return True
    harmless = {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_NOMEM}
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", None) not in harmless


def translated(error: Exception) -> Exception:
    """Return an engine's or the system's error as ``StoreError``; any other as it is."""
    if isinstance(error, apsw.FullError):
        return StoreError("disk-full", "the disk is full")
    if isinstance(error, apsw.Error | OSError):
        return StoreError("storage-unavailable", f"the store cannot do it at present ({type(error).__name__}: {error})")
    return error


def _fail(jobs: list[_Job], failure: Exception | None) -> None:
    """Give jobs their failure, if there is one, each its own: an error raised by many callers would grow with each."""
    for job in jobs:
        if isinstance(failure, StoreError):
            job.result, job.error = None, StoreError(failure.reason, str(failure))
        elif failure is not None:
            job.result, job.error = None, failure


class Writer:
    """The writing connection and its thread."""

    def __init__(
        self,
        db: apsw.Connection,
        memory: Memory,
        *,
        seconds: Callable[[], float],
        reach: Reach,
        observe: Observe,
        on_broken: Callable[[StoreError], None],
        is_more_coming: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin to write on ``db``. Call on the event loop that will be answered; ``seconds`` is a steady clock.

        ``is_more_coming`` says whether jobs are about to come for whom others may wait a moment.
        """
        self.broken: StoreError | None = None
        self._db = db
        self._transaction = Transaction(db, memory)
        self._seconds = seconds
        self._reach = reach
        self._observe = observe
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._is_more_coming = is_more_coming
        self._gathered: list[_Job] = []
        self._is_looked_at = False  # whether this turn of the loop ends with a look at what it gathered
        self._is_hurried = False
        self._timer: asyncio.TimerHandle | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = False
        self._unanswered = 0
        self._log_pages = 0
        self._checkpoint_at = _CHECKPOINT_PAGES
        self._ended = asyncio.Event()
        db.set_wal_hook(self._note_log)
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = "broken" if self.broken else "closed" if self._closing else "open"
        return f"<Writer {state}, {self._jobs.qsize()} waiting, log of {self._log_pages} pages>"

    @property
    def is_idle(self) -> bool:
        """Whether every job has been answered."""
        return not self._unanswered

    async def do(self, kind: str, work: Callable[[Transaction], T], weight: int = 0, *, may_wait: bool = False) -> T:
        """Do a job and return its result once it is on disk.

        ``weight`` is the octets it brings; it ``may_wait`` a moment for others to share a commit with. Raises
        ``StoreError``, or what the job raised. Giving up waiting does not undo it.
        """
        if self._closing:
            raise StoreError("storage-unavailable", "the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._unanswered += 1
        if not self._is_looked_at:
            # What one turn of the loop brings makes one commit, and the thread, which needs the interpreter for each
            # statement, does not wake in the middle of that turn to wait for it.
            self._is_looked_at = True
            self._loop.call_soon(self._look)
        self._is_hurried = self._is_hurried or not may_wait
        self._gathered.append(_Job(kind, work, weight, future))
        return await future

    async def close(self) -> None:
        """Finish what waits and end the thread. The connection is closed by it."""
        if not self._closing:
            self._closing = True
            self._pass_on()
            self._jobs.put(None)
        await self._ended.wait()
        self._thread.join()

    # -- in the thread

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._collect()
            began = self._seconds()
            if batch:
                self._perform(batch)
                self._tell(self._answer, batch)
                self._observe(len(batch), self._seconds() - began)
            if self._log_pages >= self._checkpoint_at:
                self._checkpoint()
        self._end()

    def _collect(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take what waits behind it, up to the bounds; whether it was the last."""
        batch: list[_Job] = []
        weight = 0
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            weight += job.weight
            if len(batch) >= MAX_JOBS or weight >= MAX_BYTES:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _perform(self, batch: list[_Job]) -> None:
        try:
            failure = self.broken or self._commit(batch)
            if failure is not None and self.broken is None and len(batch) > 1:
                for job in batch:
                    _fail([job], self.broken or self._commit([job]))
            else:
                _fail(batch, failure)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            self._break(error)
            _fail(batch, StoreError("commit-uncertain", f"the writer failed ({type(error).__name__})"))

    def _commit(self, batch: list[_Job]) -> Exception | None:
        """Do the jobs in one transaction; return why it was rolled back, if it was."""
        kinds = {job.kind for job in batch}
        is_committing = False
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in batch:
                job.result = job.error = None
                try:
                    job.result = job.work(self._transaction)
                except StoreError as refusal:
                    job.error = refusal
            for kind in kinds:
                self._reach(f"{kind}-before-commit")
            is_committing = True
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the thread outlives every job; the callers get the error
            self._roll_back()
            return self._judge(error, is_committing=is_committing)
        self._transaction.memory.commit()
        for kind in kinds:
            self._reach(f"{kind}-after-commit")
        return None

    def _roll_back(self) -> None:
        self._transaction.memory.roll_back()
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except apsw.Error as error:
            self._break(error)

    def _judge(self, error: Exception, *, is_committing: bool) -> Exception:
        if not _is_breaking(error):
            return translated(error)
        broken = self._break(error)
        if is_committing:
            return StoreError(
                "commit-uncertain", "the store failed while committing: the message may or may not be kept"
            )
        return broken

    def _break(self, error: Exception) -> StoreError:
        if self.broken is None:
            _log.critical("store broken", error=f"{type(error).__name__}: {error}")
            self.broken = StoreError("storage-unavailable", f"the store is broken until the next start ({error})")
            self._tell(self._on_broken, self.broken)
        return self.broken

    def _note_log(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._log_pages:
            self._checkpoint_at = _CHECKPOINT_PAGES  # the log began anew
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        self._checkpoint_at = self._log_pages + _CHECKPOINT_PAGES
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            _log.error("checkpoint failed", error=f"{type(error).__name__}: {error}")
            if _is_breaking(error):
                self._break(error)

    def _end(self) -> None:
        try:
            # What is in doubt is left to the next start.
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(self.broken is not None))
            self._db.close()
        except apsw.Error as error:
            _log.error("store not closed cleanly", error=f"{type(error).__name__}: {error}")
        self._tell(self._ended.set)

    def _tell(self, hear: Callable[..., object], *what: object) -> None:
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(hear, *what)

    # -- on the loop

    def _look(self) -> None:
        """Pass on what has been gathered, unless all of it may wait and there is something to wait for."""
        self._is_looked_at = False
        if self._is_hurried or not self._is_more_coming():
            self._pass_on()
        elif self._gathered and self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE, self._pass_on)

    def _pass_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_hurried = False
        gathered, self._gathered = self._gathered, []
        for job in gathered:
            self._jobs.put(job)

    def _answer(self, batch: list[_Job]) -> None:
        self._unanswered -= len(batch)
        for job in batch:
            if job.future.done():
                continue  # nobody waits any more
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
