"""A file system for SQLite that remembers what was synced, can lose the rest, and fails on order.

Everything passes through to the system's own files, so a store works on it as on any other. Beside them stands, for
each file, what would be left of it after a power loss: only what a sync has covered. Every write and sync has a number,
so a test can tell which sync covers which write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import apsw

_names = count(1)


@dataclass(frozen=True, slots=True)
class Operation:
    """One write (``data`` at ``offset``), truncation (``data`` None: to ``offset``) or sync (``is_sync``) of a file."""

    number: int
    path: str
    offset: int
    data: bytes | None
    is_sync: bool = False

    @property
    def is_log(self) -> bool:
        return self.path.endswith("-wal")


@dataclass(slots=True)
class Fault:
    """An error to raise at operations that ``applies`` names: behind the first ``skip`` of them, ``times`` times."""

    error: Callable[[], Exception]
    applies: Callable[[str, str], bool]
    skip: int = 0
    times: int = 1_000_000
    seen: int = field(default=0, init=False)

    def strike(self, what: str, path: str) -> None:
        if self.applies(what, path):
            self.seen += 1
            if self.skip < self.seen <= self.skip + self.times:
                raise self.error()


def full() -> Exception:
    """No space is left on the device."""
    return apsw.FullError("no space left (ordered)")


def input_output(code: int) -> Callable[[], Exception]:
    """An input or output error with an extended code (``apsw.SQLITE_IOERR_FSYNC`` …)."""

    def build() -> Exception:
        error = apsw.IOError("input/output error (ordered)")
        error.extendedresult = code  # type: ignore[attr-defined]
        return error

    return build


def on(what: str, suffix: str = "") -> Callable[[str, str], bool]:
    """Operations of one kind (``write``, ``sync``, ``read``, ``truncate``) on files whose name ends so."""
    return lambda kind, path: kind == what and path.endswith(suffix)


class FaultVfs(apsw.VFS):
    """See the module's promise. Registered under ``name`` while it lives."""

    def __init__(self) -> None:
        self.name = f"fault{next(_names)}"
        self.operations: list[Operation] = []
        self.faults: list[Fault] = []
        self._durable: dict[str, bytearray] = {}
        self._pending: dict[str, list[Operation]] = {}
        self._lock = threading.RLock()
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - the engine's word
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is not None:
            self._durable.setdefault(str(path), bytearray(Path(path).read_bytes() if Path(path).exists() else b""))
        return _File(self, name, str(path or ""), flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - the engine's word
        super().xDelete(filename, syncdir)
        with self._lock:
            self._durable.pop(filename, None)
            self._pending.pop(filename, None)

    def strike(self, what: str, path: str) -> None:
        for fault in self.faults:
            fault.strike(what, path)

    def note(self, path: str, offset: int, data: bytes | None, *, is_sync: bool = False) -> None:
        """Remember an operation that has been done."""
        with self._lock:
            operation = Operation(len(self.operations), path, offset, data, is_sync)
            self.operations.append(operation)
            if is_sync:
                for each in self._pending.pop(path, []):
                    _apply(self._durable.setdefault(path, bytearray()), each)
            else:
                self._pending.setdefault(path, []).append(operation)

    def power_loss(self, folder: Path, survives: Callable[[Operation], bool] = lambda _: False) -> None:
        """Write into ``folder`` what a power loss now would leave: all that was synced, and what ``survives`` says."""
        with self._lock:
            for path, synced in self._durable.items():
                content = bytearray(synced)
                for operation in self._pending.get(path, []):
                    if survives(operation):
                        _apply(content, operation)
                (folder / Path(path).name).write_bytes(content)

    def syncs(self, since: int = 0) -> Iterator[Operation]:
        """Yield the syncs of the log from an operation's number on."""
        return (each for each in self.operations[since:] if each.is_sync and each.is_log)


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.data is None:
        del content[operation.offset :]
        content.extend(bytes(max(0, operation.offset - len(content))))
        return
    if len(content) < operation.offset:
        content.extend(bytes(operation.offset - len(content)))
    content[operation.offset : operation.offset + len(operation.data)] = operation.data


class _File(apsw.VFSFile):
    def __init__(self, vfs: FaultVfs, name: Any, path: str, flags: list[int]) -> None:
        self._vfs = vfs
        self._path = path
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - the engine's word
        self._vfs.strike("read", self._path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - the engine's word
        self._vfs.strike("write", self._path)
        super().xWrite(data, offset)
        self._vfs.note(self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - the engine's word
        self._vfs.strike("truncate", self._path)
        super().xTruncate(newsize)
        self._vfs.note(self._path, newsize, None)

    def xSync(self, flags: int) -> None:  # noqa: N802 - the engine's word
        self._vfs.strike("sync", self._path)
        super().xSync(flags)
        self._vfs.note(self._path, 0, b"", is_sync=True)


@contextmanager
def fault_vfs() -> Iterator[FaultVfs]:
    """Lend such a file system; its name is taken back at the end."""
    vfs = FaultVfs()
    try:
        yield vfs
    finally:
        vfs.faults.clear()
        vfs.unregister()
