"""Named points of a message's journey at which a test can end the process, as a power cut would.

Set by ``POSTROOM_FAILPOINTS`` (development only: ``serve`` refuses it without ``--dev``), a comma-separated list of
``NAME`` (end at the first pass), ``NAME:N`` (at the Nth) or ``NAME:P%`` (at each pass with this chance). Without it a
point costs one look at an empty table.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Final

#: Every point that exists, in the order of the journey.
POINTS: Final = (
    "accept-before-commit",
    "accept-after-commit",
    "accept-before-answer",
    "pick-after-commit",
    "carry-before-wire",
    "mark-before-commit",
    "mark-after-commit",
    "carry-after-reply",
    "settle-before-commit",
    "settle-after-commit",
)


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Failpoints:
    """The armed points of one process. ``end`` is what happens at one."""

    def __init__(
        self, text: str = "", *, chance: Callable[[], float] = random.random, end: Callable[[], None] = _end_process
    ) -> None:
        """Arm the points named in ``text``; raises ``ValueError`` for a name that does not exist."""
        self._countdown: dict[str, int] = {}
        self._odds: dict[str, float] = {}
        self._chance = chance
        self._end = end
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, when = entry.partition(":")
            if name not in POINTS:
                raise ValueError(f"there is no failpoint {name!r}; there are {', '.join(POINTS)}")
            if when.endswith("%"):
                self._odds[name] = float(when[:-1]) / 100
            else:
                self._countdown[name] = int(when or 1)

    def reach(self, name: str) -> None:
        """Pass a point; the process ends here if it is armed and its time has come."""
        if name in self._odds and self._chance() < self._odds[name]:
            self._end()
        if name in self._countdown:
            self._countdown[name] -= 1
            if self._countdown[name] == 0:
                self._end()
