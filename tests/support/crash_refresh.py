"""Run as a program: stores a refresh token and dies at a chosen step, once for every step; a test reads what is left.

``python -m tests.support.crash_refresh DIRECTORY`` makes a directory a case and prints its name and how the child
ended. The children are forked, so the price of the imports is paid once.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.signin.refresh_file import Kept, RefreshTokenFile

OLD, NEW = "old-refresh-token", "new-refresh-token"
OWNER = ("https://login.example", "contoso.com", "app-id")
STEPS = ("open", "write", "half-write", "fsync", "close", "replace")
_MOST_CALLS = 12


def file_in(directory: Path) -> RefreshTokenFile:
    return RefreshTokenFile(directory / "token", None, OWNER)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fatal(step: str, at: int, after: bool) -> None:
    """Make the ``at``-th call of an os function deadly, before or after it has done its work."""
    name = "write" if step == "half-write" else step
    real: Callable[..., Any] = getattr(os, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != at:
            return real(*args, **kwargs)
        if step == "half-write":
            real(args[0], args[1][: len(args[1]) // 2])
        elif after:
            real(*args, **kwargs)
        _die()
        return None

    setattr(os, name, deadly)


def _case(directory: Path, step: str, at: int, after: bool, encrypted: bool) -> str:
    directory.mkdir()
    (directory / "token").write_text(OLD)
    if encrypted:
        file = file_in(directory)
        file.keep(file.newest())
    child = os.fork()
    if child == 0:
        file = file_in(directory)
        kept = Kept(SecretStr(NEW), datetime(2026, 11, 23, tzinfo=UTC), file.newest().origin)
        _fatal(step, at, after)
        file.keep(kept)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "died" if os.WIFSIGNALED(status) else "lived"


def main(root: Path) -> None:
    for encrypted in (False, True):
        for step in STEPS:
            for after in (False, True):
                for at in range(1, _MOST_CALLS):
                    name = f"{'encrypted' if encrypted else 'plain'}-{step}-{at}-{'after' if after else 'before'}"
                    ended = _case(root / name, step, at, after, encrypted)
                    print(name, ended)
                    if ended == "lived":
                        break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
