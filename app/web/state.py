"""In which phase of its life the service is, for health and for the doors.

``starting`` → ``serving`` → ``leaving`` (not ready, yet still accepting, while balancers take notice) → ``closed``
(kept connections are answered 503 ``draining``). Phases only go forward.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum


class Phase(IntEnum):
    """A phase; see the module's promise."""

    STARTING = 0
    SERVING = 1
    LEAVING = 2
    CLOSED = 3


class State:
    """The phase, moved by whoever starts and stops the service."""

    def __init__(self) -> None:
        self._phase = Phase.STARTING
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<State {self._phase.name.lower()}>"

    @property
    def phase(self) -> Phase:
        """The present phase."""
        return self._phase

    def enter(self, phase: Phase) -> None:
        """Go on to a phase; an earlier one than the present is ignored."""
        self._phase = max(self._phase, phase)
        if self._phase is Phase.CLOSED:
            self._closed.set()

    async def closed(self) -> None:
        """Wait until the doors close: whoever makes a caller wait must answer now."""
        await self._closed.wait()
