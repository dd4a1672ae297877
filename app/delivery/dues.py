"""How many messages of a lane are due by when: an image of a queue that forecasts are made from, never a decision.

Messages due close together are counted together. What is due is taken first; times are aware UTC.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from app.queue.rows import LaneKey

# Messages whose due times lie so close together are one group.
_CLOSE = timedelta(seconds=2)


@dataclass(slots=True)
class Group:
    """Messages that are due from ``first`` to ``last``."""

    first: datetime
    last: datetime
    count: int


class Dues:
    """See the module's promise."""

    def __init__(self) -> None:
        self._ready: deque[Group] = deque()  # in the order in which they became due
        self._ready_count = 0
        self._later: list[Group] = []  # by first
        self.total = 0

    def add(self, due: datetime, count: int) -> None:
        """Count more messages that are due at an instant."""
        self.total += count
        groups = self._later
        if count and groups and _is_close(groups[-1], due):
            groups[-1].last = max(groups[-1].last, due)
            groups[-1].count += count
        elif count:
            insort(groups, Group(due, due, count), key=lambda group: group.first)

    def take(self, count: int) -> None:
        """Count messages out, what has been due longest first."""
        while count > 0 and (self._ready or self._later):
            group = self._ready[0] if self._ready else self._later[0]
            gone = min(count, group.count)
            group.count -= gone
            count -= gone
            self.total -= gone
            if self._ready:
                self._ready_count -= gone
                if not group.count:
                    self._ready.popleft()
            elif not group.count:
                self._later.pop(0)

    def due(self, now: datetime) -> int:
        """Return how many are due."""
        passed = 0
        for group in self._later:
            if group.first > now:
                break
            passed += 1
            self._ready_count += group.count
            if self._ready and _is_close(self._ready[-1], group.first):
                self._ready[-1].last = max(self._ready[-1].last, group.last)
                self._ready[-1].count += group.count
            else:
                self._ready.append(group)
        if passed:
            del self._later[:passed]
        return self._ready_count

    def before(self, due: datetime, key: LaneKey, other: LaneKey, now: datetime) -> int:
        """Return how many of lane ``key`` go before one more message of lane ``other`` that is due at ``due``.

        Of the same instant, the lane of the smaller key goes first, and in its own lane the new one last. Within a
        group they are taken to be spread evenly.
        """
        count = float(self.due(now))
        for group in reversed(self._ready):
            if group.first + _CLOSE < due:
                break
            count += _part_before(group, due, goes_first=key <= other) - group.count
        for group in takewhile(lambda group: group.first <= due, self._later):
            count += _part_before(group, due, goes_first=key <= other)
        return round(count)


def _part_before(group: Group, due: datetime, *, goes_first: bool) -> float:
    """Return how many of a group go before an instant; ``goes_first``: so do those of that very instant."""
    if group.last < due or (group.last == due and goes_first):
        return group.count
    if group.first < due:
        return group.count * ((due - group.first) / (group.last - group.first))
    return 0.0


def _is_close(group: Group, due: datetime) -> bool:
    """Whether a message due at an instant belongs to a group."""
    return group.first <= due <= group.first + _CLOSE
