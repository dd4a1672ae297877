"""Keeps the store small: erases content and forgets messages past their retention, a little at a time, for ever.

Restartable at any point; each step is a bounded batch of the store, so that no accept waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app.kit.clock import Clock
from app.kit.log import get_logger
from app.queue.contract import QueueStore, StoreError

_log = get_logger("housekeeping")

_BATCH = 500
_PAUSE_SECONDS = 30.0
_BUSY_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept after the final result."""

    content_sent: timedelta
    content_other: timedelta
    metadata: timedelta
    idempotency: timedelta


class Housekeeper:
    """The housekeeping loop of one store."""

    def __init__(self, store: QueueStore, retention: Retention, clock: Clock) -> None:
        self._store = store
        self.retention = retention
        self._clock = clock
        self.is_stopping = False

    async def run(self) -> None:
        """Tidy up until ``is_stopping``; a store that refuses is asked again later."""
        while not self.is_stopping:
            await self._clock.sleep(_PAUSE_SECONDS if await self.tidy() < _BATCH else _BUSY_PAUSE_SECONDS)

    async def tidy(self) -> int:
        """Make one round; how much was tidied away."""
        now, keep = self._clock.now(), self.retention
        try:
            erased = await self._store.erase_content(now, keep.content_sent, keep.content_other, _BATCH)
            forgotten = await self._store.forget(now, keep.metadata, keep.idempotency, _BATCH)
        except StoreError as problem:
            _log.warning("housekeeping refused", reason=problem.reason, trouble=str(problem))
            return 0
        if erased or forgotten:
            _log.debug("tidied up", erased=erased, forgotten=forgotten)
        return erased + forgotten
