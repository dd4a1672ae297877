"""Reads small credential files, and writes them so that a crash leaves the old one or the new one, never less."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Far above every certificate and token; a mistaken path must not fill the memory.
_LIMIT = 64 * 1024


class CredentialUnreadable(Exception):
    """A credential file cannot be used; names the file and the fault, never the content."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{path} {fault}")


def read_credential(path: Path) -> bytes:
    """Return the whole file; raises ``CredentialUnreadable`` when it is missing, empty, too large or unreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise CredentialUnreadable(path, f"cannot be read: {error.strerror}") from None
    if not data.strip():
        raise CredentialUnreadable(path, "is empty")
    if len(data) > _LIMIT:
        raise CredentialUnreadable(path, "is larger than 64 KiB")
    return data


def replace_durably(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``, mode 0600, on disk when this returns.

    The new file is complete and synced before it takes the name, and the name is synced before the caller goes on.
    Raises ``OSError``; then ``path`` is as it was, or already new.
    """
    target = path.resolve()  # the file itself, where the path is a link to it
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)  # left by a crash
    try:
        _write_synced(fresh, data)
        os.replace(fresh, target)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
