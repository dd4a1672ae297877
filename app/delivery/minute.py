"""The rolling minute of one mailbox: who occupies it, until when, and when the next transaction may begin.

Two thirds of what a class may use go in one burst; the last third is handed out evenly spaced, so that no burst closes
the window for others and yet all of it is used. Each place knows which of the two it was. Urgent mail is neither: it
counts, and goes at once. Decides only; all instants are seconds of the clock that never jumps.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

MINUTE = 60.0
# The two machines' clocks do not run at the same speed, and timers fire a little early.
SLACK = 0.1


class Place(Enum):
    """What a transaction's place in the minute is."""

    BURST = "burst"
    SPACED = "spaced"
    URGENT = "urgent"


@dataclass(frozen=True, slots=True)
class Rate:
    """What a class may use of a minute: ``cap`` in all, ``burst`` at once, the rest every ``spacing`` seconds."""

    cap: int
    burst: int
    spacing: float


def rate_of(limit: int, reserve: int, *, urgent: bool) -> Rate:
    """Return what a class may use of a minute of ``limit`` (at least 1), ``reserve`` of it kept for urgent mail."""
    if urgent:
        return Rate(limit, limit, 0.0)
    cap = max(1, limit - reserve)
    burst = math.ceil(cap * 2 / 3)
    # One part more than there are places: the last of them goes before the next burst opens, not with it, where it
    # would find a burst's place and leave its own unused (29 of 30 in each minute).
    return Rate(cap, burst, MINUTE / (cap - burst + 1) if cap > burst else 0.0)


@dataclass(frozen=True, slots=True)
class Leaving:
    """A transaction that has ended, and when its place frees itself."""

    at: float
    place: Place
    tenant: str


class Minute:
    """The window; see the module's promise."""

    def __init__(self) -> None:
        self._running = 0
        self._bursts = 0  # of those that run or have ended
        self._leaving: deque[Leaving] = deque()
        self._last_spaced = -math.inf

    def copy(self) -> Minute:
        """Return a copy to play with."""
        twin = Minute()
        twin._running = self._running
        twin._bursts = self._bursts
        twin._leaving = deque(self._leaving)
        twin._last_spaced = self._last_spaced
        return twin

    def used(self) -> int:
        """Return how many places are occupied (after ``forget``)."""
        return self._running + len(self._leaving)

    def wait(self, now: float, rate: Rate, *, urgent: bool) -> float:
        """Return in how many seconds a transaction may begin (0: now; inf: a running one must end first)."""
        surplus = self._running + len(self._leaving) - rate.cap
        full = 0.0
        if surplus >= 0:
            full = max(0.0, self._leaving[surplus].at - now) if surplus < len(self._leaving) else math.inf
        if urgent or full == math.inf:
            return full
        spaced = max(0.0, self._last_spaced + rate.spacing - now) if rate.spacing else math.inf
        return max(full, spaced if spaced <= full else min(spaced, self._burst_opens(now, rate)))

    def _burst_opens(self, now: float, rate: Rate) -> float:
        """Return in how many seconds the burst has a place."""
        surplus = self._bursts - rate.burst + 1
        if surplus <= 0:
            return 0.0
        for leaving in self._leaving:
            surplus -= leaving.place is Place.BURST
            if surplus <= 0:
                return max(0.0, leaving.at - now)
        return math.inf

    def begin(self, now: float, rate: Rate, *, urgent: bool) -> Place:
        """Occupy a place; which one it is."""
        if urgent:
            place = Place.URGENT
        elif self._bursts < rate.burst:
            place = Place.BURST
            self._bursts += 1
            # The spacing begins when the burst is used up, unless it is going on since the last one.
            if self._bursts == rate.burst and now - self._last_spaced > rate.spacing:
                self._last_spaced = now
        else:
            place = Place.SPACED
            self._last_spaced = now
        self._running += 1
        return place

    def give_back(self, place: Place) -> None:
        """Free a place of which nothing was used."""
        self._running -= 1
        self._bursts -= place is Place.BURST

    def end(self, place: Place, at: float, tenant: str) -> None:
        """Let a running transaction leave a minute after ``at``."""
        self._running -= 1
        self._leave(place, at, tenant)

    def occupy(self, place: Place, at: float, tenant: str) -> None:
        """Let an ended transaction occupy a place until a minute after ``at``."""
        self._bursts += place is Place.BURST
        self._leave(place, at, tenant)

    def _leave(self, place: Place, at: float, tenant: str) -> None:
        leaves = at + MINUTE + SLACK
        if self._leaving and self._leaving[-1].at > leaves:
            leaves = self._leaving[-1].at  # keeps the order; a place is never freed early
        self._leaving.append(Leaving(leaves, place, tenant))

    def restore(self, place: Place, at: float, tenant: str) -> None:
        """Occupy a place for a transaction of before a restart; the spacing goes on from it."""
        self.occupy(place, at, tenant)
        if place is Place.SPACED:
            self._last_spaced = max(self._last_spaced, at)

    def forget(self, now: float) -> list[str]:
        """Free the places whose minute is over; return the tenants that left."""
        gone = []
        while self._leaving and self._leaving[0].at <= now:
            leaving = self._leaving.popleft()
            self._bursts -= leaving.place is Place.BURST
            gone.append(leaving.tenant)
        return gone
