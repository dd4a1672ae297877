"""Knows which requests with an Idempotency-Key are under way, so that a twin can be told what it is waiting for.

The store decides which of twins is the new one; this is only for the words of those it keeps waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds the store is waited for, and the problem that is told then."""

    seconds: float
    problem: str


# The twin gives up first, so that it is told of the other while that one still waits.
FIRST: Final = Patience(12.0, "commit-uncertain")
TWIN: Final = Patience(10.0, "idempotency-in-progress")


class Twins:
    """The requests that are under way, by tenant and key."""

    def __init__(self) -> None:
        self._under_way: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def named(self, tenant: str, key: str) -> Iterator[Patience]:
        """Count a request in while it is under way; yields the patience it is given."""
        name = (tenant, key)
        self._under_way[name] += 1
        try:
            yield FIRST if self._under_way[name] == 1 else TWIN
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]
