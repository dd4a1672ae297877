"""Lets somebody wait for news of one key without asking again and again.

A bell that nobody waits at is silent and costs nothing. Waiters look at the facts themselves: a ring says "look",
never what.
"""

from __future__ import annotations

import asyncio


class Bells:
    """Bells by key; single event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def ring(self, key: str) -> None:
        """Wake all who wait at ``key``."""
        for event in self._waiting.get(key, ()):
            event.set()

    def ring_all(self) -> None:
        """Wake everybody (the service drains)."""
        for key in list(self._waiting):
            self.ring(key)

    def listen(self, key: str) -> Listener:
        """Begin to listen at ``key``: rings from now on are not missed."""
        return Listener(self._waiting, key)


class Listener:
    """One who listens at a bell: ``with bells.listen(key) as bell: … await bell.wait(…)``."""

    def __init__(self, waiting: dict[str, set[asyncio.Event]], key: str) -> None:
        self._waiting = waiting
        self._key = key
        self._event = asyncio.Event()

    def __enter__(self) -> Listener:
        self._waiting.setdefault(self._key, set()).add(self._event)
        return self

    def __exit__(self, *_exc: object) -> None:
        events = self._waiting[self._key]
        events.discard(self._event)
        if not events:
            del self._waiting[self._key]

    async def wait(self) -> None:
        """Wait for the next ring."""
        await self._event.wait()
        self._event.clear()
