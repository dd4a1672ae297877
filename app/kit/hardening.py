"""Keeps what is in this process's memory there: no core dumps, no reading by other processes of the same user."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # prctl(2)


def keep_secrets_in_memory() -> None:
    """Forbid core dumps and, on Linux, tracing by anybody without the right to trace everything."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
