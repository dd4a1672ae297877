"""A clock that stands still until a test moves it: ``app.kit.clock.Clock`` for tests.

``advance`` passes time: sleepers wake in the order of their deadlines, each at its own instant, and the event loop
settles after each, so that whatever they start (and sleep for next) happens in its turn. ``jump_wall`` moves only the
wall clock, as an administrator or NTP would. Nothing here waits for real time, except ``until``.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# Passes of the event loop that count as settled: enough for an exchange over loopback sockets within one loop.
_PASSES = 60

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class ManualClock:
    """See the module's promise. Starts at ``now`` and ``boot`` seconds; all in one event loop."""

    def __init__(self, now: datetime = NOON, boot: float = 1000.0, boot_id: str = "manual-boot") -> None:
        self.boot_id = boot_id
        self._now = now
        self._boot = boot
        self._order = 0
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<ManualClock {self._now:%Y-%m-%d %H:%M:%S} boot {self._boot:.3f}s, {self.sleepers} asleep>"

    @property
    def sleepers(self) -> int:
        """How many wait for time to pass."""
        return sum(not timer.done() for _, _, timer in self._timers)

    @property
    def next_wake(self) -> float | None:
        """The earliest instant (``boot``) at which somebody wakes; None when nobody sleeps."""
        return min((deadline for deadline, _, timer in self._timers if not timer.done()), default=None)

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return self._now

    def boot(self) -> float:
        """Return seconds since the machine started."""
        return self._boot

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        timer = self._timer(seconds)
        try:
            await timer
        finally:
            timer.cancel()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for ``event``, at most ``seconds`` of this clock (None: for ever); say whether it was set."""
        if event.is_set():
            return True
        if seconds is None:
            return await event.wait()
        if seconds <= 0:
            await asyncio.sleep(0)
            return event.is_set()
        timer = self._timer(seconds)
        ring = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({timer, ring}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            ring.cancel()
        return event.is_set()

    async def advance(self, seconds: float, *, settled: Callable[[], bool] | None = None) -> None:
        """Let ``seconds`` pass. ``settled`` says when work outside the loop (threads, other processes) is done too."""
        await self.settle(settled)
        end = self._boot + seconds
        while self._timers and self._timers[0][0] <= end:
            deadline, _, timer = heapq.heappop(self._timers)
            if timer.done():
                continue
            self._move(deadline)
            timer.set_result(None)
            await self.settle(settled)
        self._move(end)
        await self.settle(settled)

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, forwards or back; nobody wakes by it."""
        self._now += timedelta(seconds=seconds)

    async def settle(self, settled: Callable[[], bool] | None = None) -> None:
        """Let everything happen that needs no time to pass."""
        for _ in range(_PASSES):
            await asyncio.sleep(0)
        if settled is not None and not settled():
            await self.until(settled)
            for _ in range(_PASSES):
                await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool], limit: float = 5.0) -> None:
        """Wait in real time, at most ``limit`` seconds, for something that this clock does not drive."""
        async with asyncio.timeout(limit):
            while not condition():
                await asyncio.sleep(0.001)

    def _timer(self, seconds: float) -> asyncio.Future[None]:
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._timers, (self._boot + seconds, self._order, timer))
        return timer

    def _move(self, boot: float) -> None:
        self._now += timedelta(seconds=boot - self._boot)
        self._boot = boot
