"""Sees to it that one process at a time has the store open, and that its place can hold one.

The lock belongs to the open file: the system gives it back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path, PurePosixPath
from typing import Final

from app.queue.contract import StoreError

# The write-ahead log needs memory shared between the users of the file, and locks that hold: no network gives both.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)


class StoreLocked(StoreError):
    """Another process has the store open."""

    def __init__(self, path: Path, holder: str) -> None:
        by = f" by process {holder}" if holder else ""
        super().__init__("store-locked", f"the store {path} is locked{by}: one process at a time may open it")


class StoreLock:
    """The lock of one store; the file beside it (``….lock``) stays and holds the number of the process."""

    def __init__(self, store: Path) -> None:
        """Take the lock. Raises ``StoreLocked``."""
        path = store.with_name(store.name + ".lock")
        # Not inherited by programs we start (Python opens so): they would keep the lock after our end.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StoreLocked(store, holder) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give the lock back; again is no error."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def file_system_of(path: PurePosixPath, mountinfo: str) -> str | None:
    """Return the kind of file system that holds an absolute path, read from Linux's ``mountinfo`` (proc(5)).

    The longest mount point that leads to the path wins, of equal ones the later, which hides the earlier.
    """
    found: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        fields, _, kind = line.partition(" - ")
        columns = fields.split(" ")
        if len(columns) < 5 or not kind:
            continue
        point = PurePosixPath(columns[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), kind.split(" ", 1)[0])
    return found[1] if found else None


def refuse_network(store: Path) -> None:
    """Raise ``StoreError`` where the store would lie on a network file system. Elsewhere than on Linux: not checked."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    kind = file_system_of(PurePosixPath(store.resolve().parent), mountinfo)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            "storage-unavailable",
            f"the store {store} would lie on a network file system ({kind}), where a write-ahead log is not safe:"
            " put it on a local disk",
        )
