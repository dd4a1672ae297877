"""A clock that can be moved, laid over another one.

Everything in the emulator that has to do with time (windows, idle cuts, tokens, delays) asks this clock, so a test or
``POST /clock`` moves it all at once. It only moves forward; sleepers wake as soon as their time has come either way.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from app.kit.clock import Clock


class MovableClock:
    """``base`` plus whatever was added by ``advance``; follows ``app.kit.clock.Clock``."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = 0.0
        self._moved = asyncio.Event()

    @property
    def boot_id(self) -> str:
        """The base's."""
        return self._base.boot_id

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return self._base.now() + timedelta(seconds=self._ahead)

    def boot(self) -> float:
        """Return seconds that never jump back."""
        return self._base.boot() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock forward; raises ValueError for a negative number or one that is none."""
        if not 0 <= seconds < float("inf"):
            raise ValueError("a clock is advanced by a number of seconds, 0 or more")
        self._ahead += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        await self._until(self.boot() + seconds, asyncio.Event())

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for ``event``, at most ``seconds`` of this clock (None: for ever); say whether it was set."""
        await self._until(float("inf") if seconds is None else self.boot() + seconds, event)
        return event.is_set()

    async def _until(self, end: float, event: asyncio.Event) -> None:
        while not event.is_set() and (left := end - self.boot()) > 0:
            limit = None if left == float("inf") else left
            moved = asyncio.create_task(self._base.wait(self._moved, limit))
            asked = asyncio.create_task(event.wait())
            try:
                await asyncio.wait({moved, asked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                moved.cancel()
                asked.cancel()
