"""Slows down who tries wrong keys: so many a minute from one address, then no more are looked at.

Valid keys are never affected. The memory is bounded: the address that failed longest ago is forgotten first.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Final

LIMIT: Final = 20
WINDOW: Final = 60.0
_MOST_ADDRESSES: Final = 10_000


class Failures:
    """Failures of the last minute by address; times in seconds of a clock that never jumps."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str, now: float) -> int | None:
        """Count a failure; None, or after how many seconds the address may fail again.

        A failure beyond the limit is not counted, so that an app with a wrong key is not shut out for ever.
        """
        times = self._times.setdefault(address, deque())
        self._times.move_to_end(address)
        while times and times[0] <= now - WINDOW:
            times.popleft()
        if len(times) >= LIMIT:
            return max(1, math.ceil(times[0] + WINDOW - now))
        times.append(now)
        if len(self._times) > _MOST_ADDRESSES:
            self._times.popitem(last=False)
        return None
