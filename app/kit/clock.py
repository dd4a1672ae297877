"""Tells the time, in two ways that must not be mixed, and lets loops wait.

``now`` is the wall clock (aware UTC): for people, for stored instants, for anything that was promised to a caller.
``boot`` counts seconds since the machine started, suspend included, and never jumps: for windows, leases, time-outs.
Nothing else in the product reads a clock, so a test moves time by handing in another one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4


class Clock(Protocol):
    """What a clock can do; see the module's promise."""

    @property
    def boot_id(self) -> str:
        """Identity of this run of the machine; ``boot`` values of another one mean nothing here."""
        ...

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        ...

    def boot(self) -> float:
        """Return seconds since the machine started, suspend included."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for ``event``, at most ``seconds`` (None: for ever); say whether it was set."""
        ...


def _machine_boot_id() -> str:
    """Return Linux's boot id; elsewhere a new one for each process, which only makes windows stricter."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid4())


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.boot_id = _machine_boot_id()
        # CLOCK_BOOTTIME counts suspend; macOS counts it in CLOCK_MONOTONIC.
        self._source = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def boot(self) -> float:
        """Return seconds since the machine started, suspend included."""
        return time.clock_gettime(self._source)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for ``event``, at most ``seconds`` (None: for ever); say whether it was set."""
        if not event.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
        return event.is_set()
