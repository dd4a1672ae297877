"""Counts what tenants used of their rolling windows, in the accept transaction.

The rows say what was used; they are read once for each tenant and policy, then the count goes along with every accept.
A window is kept in steps of a thousandth of its length, each leaving with its youngest entry: never too lenient, and
exact where traffic is thin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import apsw

from app.queue.codec import SECOND
from app.queue.rows import QuotaPolicy, QuotaState

# What a tenant sent in a window, in order; both ends are places.
USED: Final = """
SELECT seq, recipients FROM messages INDEXED BY messages_tenant WHERE tenant = ? AND seq > ? AND seq <= ? ORDER BY seq
"""

_STEPS: Final = 1000


@dataclass(slots=True)
class _Step:
    first: int
    last: int
    count: int


class _Window:
    """One policy of one tenant; instants in microseconds."""

    def __init__(self, policy: QuotaPolicy) -> None:
        self.policy = policy
        self.length = policy.window_seconds * SECOND
        self.newest = 0
        self._step = self.length // _STEPS
        self._steps: deque[_Step] = deque()
        self._used = 0

    def units(self, recipients: int) -> int:
        return recipients if self.policy.unit == "recipients" else 1

    def add(self, at: int, count: int) -> None:
        self.newest = max(self.newest, at)
        if self._steps and self.newest - self._steps[-1].first < self._step:
            self._steps[-1].last = self.newest
            self._steps[-1].count += count
        else:
            self._steps.append(_Step(self.newest, self.newest, count))
        self._used += count

    def state(self, now: int, wanted: int) -> QuotaState:
        """Say what is left at ``now`` and when ``wanted`` units have room."""
        while self._steps and self._steps[0].last + self.length <= now:
            self._used -= self._steps.popleft().count
        return self._told(self._steps, self._used, now, wanted)

    def glance(self, now: int) -> QuotaState:
        """Say what ``state`` does for one unit and change nothing, so that any thread may ask."""
        steps = [step for step in list(self._steps) if step.last + self.length > now]
        return self._told(steps, sum(step.count for step in steps), now, 1)

    def _told(self, steps: Iterable[_Step], used: int, now: int, wanted: int) -> QuotaState:
        remaining = max(0, self.policy.quota - used)
        return QuotaState(self.policy, remaining, self._seconds_until(steps, now, used + wanted - self.policy.quota))

    def _seconds_until(self, steps: Iterable[_Step], now: int, over: int) -> int:
        if over <= 0:
            return 0
        for step in steps:
            over -= step.count
            if over <= 0:
                return max(1, -((now - step.last - self.length) // SECOND))
        return self.policy.window_seconds


class Windows:
    """The windows of all tenants that have policies."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._windows: dict[tuple[int, QuotaPolicy], _Window] = {}

    def clear(self) -> None:
        """Forget every count; the rows are read again."""
        self._windows.clear()

    def states(self, tenant: int, policies: Sequence[QuotaPolicy], now: int, recipients: int) -> list[QuotaState]:
        """Return each policy's state at ``now``, with the time until a message of so many recipients has room."""
        found = [self._window(tenant, policy, now) for policy in policies]
        return [window.state(now, window.units(recipients)) for window in found]

    def add(self, tenant: int, policies: Sequence[QuotaPolicy], now: int, recipients: int) -> list[QuotaState]:
        """Count an accepted message; return what is left, with the time until one unit has room."""
        found = [self._window(tenant, policy, now) for policy in policies]
        for window in found:
            window.add(now, window.units(recipients))
        return [window.state(now, 1) for window in found]

    def glance(self, tenant: int, policies: Sequence[QuotaPolicy], now: int) -> list[QuotaState] | None:
        """Return what is left at ``now`` without reading a row, for any thread; None where the rows must be asked."""
        found = [self._windows.get((tenant, policy)) for policy in policies]
        known = [window for window in found if window is not None and window.newest <= now + SECOND]
        return [window.glance(now) for window in known] if len(known) == len(found) else None

    def _window(self, tenant: int, policy: QuotaPolicy, now: int) -> _Window:
        window = self._windows.get((tenant, policy))
        # A wall clock that was set back: what lies ahead of it now is not of this window.
        if window is None or window.newest > now + SECOND:
            window = _Window(policy)
            for at, recipients in self._db.execute(USED, (tenant, now - window.length, now + SECOND)):
                window.add(at, window.units(recipients))
            self._windows[tenant, policy] = window
        return window
