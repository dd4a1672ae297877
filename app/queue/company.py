"""Knows whether settlements are about to come, so that the sessions of a busy mailbox share a commit.

A commit costs the same whatever is in it. Where a server answers within milliseconds, the sessions that were marked
together are answered one shortly after the other: the first waits for the rest. Where it answers later, nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# A transaction that has not been settled so many seconds after its mark is not waited for.
_QUICK: Final = 0.005


class Company:
    """The transactions that were marked a moment ago and have not been settled; ``seconds`` is a steady clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._marked: dict[int, float] = {}  # by attempt, in the order of time

    def marked(self, attempt: int) -> None:
        """Note that an attempt may write its dot now."""
        self._marked[attempt] = self._seconds()

    def settled(self, attempt: int) -> None:
        """Note that an attempt is about to be settled."""
        self._marked.pop(attempt, None)

    def is_expected(self) -> bool:
        """Whether a settlement is likely to come within a moment."""
        late = self._seconds() - _QUICK
        while self._marked:
            attempt, at = next(iter(self._marked.items()))
            if at > late:
                return True
            del self._marked[attempt]
        return False
