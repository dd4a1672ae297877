"""Knows how much room the disk has, without asking it for every message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from app.queue.contract import StoreError


class Disk:
    """The disk under a folder; asked at most once a second. ``floor`` octets are kept free (0: none)."""

    def __init__(self, folder: Path, floor: int, seconds: Callable[[], float]) -> None:
        self._folder = folder
        self._floor = floor
        self._seconds = seconds
        self._asked: float | None = None
        self._free = 0

    @property
    def free_bytes(self) -> int:
        """How many octets are free for us."""
        now = self._seconds()
        if self._asked is None or not 0 <= now - self._asked < 1:
            status = os.statvfs(self._folder)
            self._free = status.f_bavail * status.f_frsize
            self._asked = now
        return self._free

    def obstacle(self) -> StoreError | None:
        """Return why the disk should take nothing more, if so."""
        if self._floor and self.free_bytes < self._floor:
            return StoreError("disk-full", f"less than {self._floor} octets are free on the disk of the store")
        return None
