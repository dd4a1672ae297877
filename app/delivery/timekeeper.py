"""Notices that the wall clock has jumped, and moves every wait by the jump, so that none grows and none is cut short.

The windows of the ledger live by the clock that never jumps and need nothing. What waits by the wall clock is a due
time in the store and the next probe of a parked mailbox. How the two clocks stand to each other is kept in the store,
so that a jump between two runs is noticed too; after a start of the machine only a jump backwards can be.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.delivery.desk import Desk
from app.delivery.gates import Stop
from app.delivery.reporter import Reporter
from app.kit.clock import Clock
from app.queue.contract import QueueStore, StoreError
from app.queue.rows import ClockSeen

#: A smaller step is a correction, not a jump.
_NOTEWORTHY_SECONDS = 5.0
#: Seconds after which the clocks are kept anew.
_KEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the wall clock: by how much, and the instant after which due times are waits that must move."""

    by: timedelta
    after: datetime


def jump_between(before: ClockSeen, after: ClockSeen) -> Jump | None:
    """Return the jump of the wall clock between two looks at both clocks; None: there was none to speak of."""
    if before.boot_id == after.boot_id:
        expected = before.wall + timedelta(seconds=after.boot - before.boot)
    else:
        # How long the machine was off, nothing tells; that time does not run backwards is all there is to know.
        expected = max(before.wall, after.wall)
        if expected == after.wall:
            return None
    by = after.wall - expected
    return Jump(by, min(expected, after.wall)) if abs(by.total_seconds()) > _NOTEWORTHY_SECONDS else None


class Timekeeper:
    """See the module's promise."""

    def __init__(self, store: QueueStore, clock: Clock, reporter: Reporter) -> None:
        self._store = store
        self._clock = clock
        self._reporter = reporter
        self.noticed = asyncio.Event()  # a jump was seen and waits to be dealt with
        self._last: ClockSeen | None = None
        self._kept_at = 0.0

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:  # noqa: ARG002
        """Return that nothing may be judged due between a jump and its being dealt with (``Gate``)."""
        last = self._last
        if last is None or abs((now - last.wall).total_seconds() - (boot - last.boot)) <= _NOTEWORTHY_SECONDS:
            return None
        self.noticed.set()
        return Stop("retry-wait", "the clock has just jumped; what waits is being moved along with it")

    def opens_in(self, boot: float) -> float:  # noqa: ARG002
        """Return that it opens by being looked at, not by time."""
        return math.inf

    async def start(self) -> timedelta | None:
        """Compare with the last run; return by how much the waits were moved. Raises ``StoreError``."""
        self._last = await self._store.clock_seen()
        return await self._compare(must_keep=True)

    async def look(self) -> timedelta | None:
        """Look at the clocks; return by how much the waits were moved, None: no jump (or the store refuses for now)."""
        try:
            return await self._compare(must_keep=self._clock.boot() - self._kept_at >= _KEEP_SECONDS)
        except StoreError as problem:
            self._reporter.store_trouble(problem)
            return None

    async def _compare(self, *, must_keep: bool) -> timedelta | None:
        self.noticed.clear()
        now = ClockSeen(self._clock.boot_id, self._clock.boot(), self._clock.now())
        jump = jump_between(self._last, now) if self._last else None
        if jump is not None:
            moved = await self._store.move_due(jump.after, jump.by)
            self._reporter.clock_jumped(jump.by, moved)
            self._kept_at = -math.inf
        self._last = now
        if jump is not None or must_keep:
            await self._keep(now)
        return jump.by if jump else None

    async def _keep(self, now: ClockSeen) -> None:
        """Keep how the clocks stand; a store that refuses is asked at the next look: what has moved, has moved."""
        try:
            await self._store.see_clock(now)
            self._kept_at = now.boot
        except StoreError as problem:
            self._reporter.store_trouble(problem)
