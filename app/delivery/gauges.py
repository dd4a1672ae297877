"""Brings the gauges up to date before a scrape: how full the store is, how the mailboxes stand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from app.delivery.desk import Desk
from app.kit.clock import Clock
from app.kit.metrics import Metrics
from app.queue.contract import QueueStore


class Gauges:
    """Reads what is counted nowhere else."""

    def __init__(self, metrics: Metrics, store: QueueStore, desks: Mapping[str, Desk], clock: Clock) -> None:
        self._metrics = metrics
        self._store = store
        self._desks = desks
        self._clock = clock

    async def refresh(self) -> None:
        """Set every gauge."""
        metrics = self._metrics
        counts = await self._store.counts()
        for work, number in counts.by_work.items():
            metrics.queue_messages(work.value).set(number)
        oldest = counts.oldest_waiting
        age = (self._clock.now() - oldest).total_seconds() if oldest else 0.0
        metrics.queue_oldest_age.set(max(0.0, age))
        metrics.store_free_bytes.set(counts.disk_free_bytes)
        metrics.store_file_bytes.set(counts.file_bytes)
        metrics.store_reusable_bytes.set(counts.free_bytes)
        boot = self._clock.boot()
        # The mailboxes that a wildcard signs in as are told together: a label for each would have no bound.
        together: dict[str, Counter[str]] = defaultdict(Counter)
        for desk in self._desks.values():
            together[desk.spec.configured].update(
                open=desk.sessions.open,
                busy=desk.sessions.busy,
                minute=desk.ledger.minute_used(boot),
                day=desk.ledger.day_used(boot),
            )
        for name, used in together.items():
            for state in ("open", "busy"):
                metrics.mailbox_sessions(name, state).set(used[state])
            for window in ("minute", "day"):
                metrics.mailbox_window_used(name, window).set(used[window])
