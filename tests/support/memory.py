"""How much memory another process holds, in octets: now, and the most since somebody began to watch.

On Linux the kernel keeps the mark of the peak (proc(5): VmHWM); where it does not, a thread looks again and again.
"""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import psutil

_EVERY_SECONDS = 0.005


def resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def peak_of(pid: int, *, anew: bool = True) -> Peak:
    """Watch a process; without ``anew`` what it held before counts too, where the kernel has kept the mark."""
    return KernelPeak(pid, anew=anew) if sys.platform == "linux" else WatchedPeak(pid)


class Peak(ABC):
    """The most memory a process has held; ``idle`` is what it held when this was made."""

    def __init__(self, pid: int) -> None:
        self.idle = resident(pid)

    @abstractmethod
    def read(self) -> int:
        """Return the most so far."""


class KernelPeak(Peak):
    """By the kernel's own mark, which misses nothing."""

    def __init__(self, pid: int, *, anew: bool) -> None:
        super().__init__(pid)
        self._folder = Path(f"/proc/{pid}")
        if anew:
            with suppress(PermissionError):  # who may not sees the most since the start, which bounds it too
                (self._folder / "clear_refs").write_text("5")

    def read(self) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


class WatchedPeak(Peak):
    """By looking every few milliseconds, until it is read for the first time."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self._pid, self._most = pid, self.idle
        self._is_read = threading.Event()
        self._watch = threading.Thread(target=self._look, name="memory", daemon=True)
        self._watch.start()

    def read(self) -> int:
        self._is_read.set()
        self._watch.join()
        return self._most

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while not self._is_read.wait(_EVERY_SECONDS):
                self._most = max(self._most, resident(self._pid))
            self._most = max(self._most, resident(self._pid))
