"""Plays waiting mail through on copies of the mailboxes' minutes, to learn when a message's turn comes.

The same rules as in earnest: the higher class first, then the tenant that has used the least of the running minute for
its share. As many turns are played one by one as it takes until tenants that have used nothing yet are on a level with
the others; from then on each minute is like the one before, and only counted. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.delivery.minute import MINUTE, SLACK, Minute, Rate
from app.mail.message import Priority

# Minutes that are played turn by turn while several tenants wait.
_PLAYED = 2
# The same where a mailbox has no limit a minute, in turns.
_PLAYED_UNLIMITED = 60


@dataclass(slots=True)
class Crowd:
    """What waits of one tenant in one class, and the tenant's weight."""

    tenant: str
    priority: Priority
    share: float
    waiting: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a mailbox works: what classes may use of its minute (None: no limit), ``seconds`` for a transaction,
    and ``gap`` between two that begin, when all of its sessions are at work.
    """

    urgent: Rate | None
    other: Rate | None
    seconds: float
    gap: float


class Twin:
    """A copy of a mailbox to play with; ``now`` and what it returns are seconds of the clock that never jumps."""

    def __init__(self, minute: Minute, usage: Counter[str], pace: Pace, now: float) -> None:
        self._minute = minute
        self._usage = usage
        self._pace = pace
        self._at = now
        self._free_at = now

    @property
    def cap(self) -> float:
        """How many messages below urgent a minute lets go."""
        return self._pace.other.cap if self._pace.other is not None else math.inf

    @property
    def gap(self) -> float:
        """Seconds between two that begin when nothing but the sessions limits them."""
        return self._pace.gap

    def opens(self, *, urgent: bool) -> float:
        """Return when the next transaction may begin."""
        rate = self._pace.urgent if urgent else self._pace.other
        if rate is None:
            return self._free_at
        wait = self._minute.wait(self._at, rate, urgent=urgent)
        return max(self._free_at, self._at + (MINUTE if wait == math.inf else wait))

    def pass_to(self, at: float) -> None:
        """Let time pass."""
        self._at = at
        for tenant in self._minute.forget(at):
            self._usage[tenant] -= 1

    def used(self, crowd: Crowd) -> float:
        """Return what a tenant has used of the minute, for its share."""
        return self._usage[crowd.tenant] / crowd.share

    def begin(self, tenant: str, *, urgent: bool) -> None:
        """Begin a transaction now, which ends in the usual time."""
        rate = self._pace.urgent if urgent else self._pace.other
        self._usage[tenant] += 1
        self._free_at = self._at + self._pace.gap
        if rate is not None:
            place = self._minute.begin(self._at, rate, urgent=urgent)
            self._minute.end(place, self._at + self._pace.seconds, tenant)


def ahead_of(mine: Crowd, crowds: Sequence[Crowd]) -> list[tuple[Crowd, int]]:
    """Return how many of each crowd go before a message behind ``mine.waiting`` of its own, by class and share."""
    found = []
    for each in crowds:
        if each is mine or each.priority < mine.priority:
            found.append((each, each.waiting))
        elif each.priority is mine.priority:
            found.append((each, min(each.waiting, math.ceil((mine.waiting + 1) * each.share / mine.share))))
    return found


def turn_at(mine: Crowd, crowds: Sequence[Crowd], twins: Sequence[Twin]) -> float:
    """Return when the message behind ``mine.waiting`` of its own begins. ``crowds`` holds ``mine`` among the others.

    Of equals the first goes first. Plays with what it is given: crowds and twins are used up.
    """
    crowds = [each for each in crowds if each is mine or (each.waiting and each.priority <= mine.priority)]
    cap = sum(twin.cap for twin in twins)
    if len(crowds) > 1:
        for _ in range(_PLAYED_UNLIMITED if cap == math.inf else int(cap) * _PLAYED):
            waiting = [each for each in crowds if each.waiting or each is mine]
            first = min(each.priority for each in waiting)
            twin, at = _next(twins, urgent=first is Priority.URGENT)
            twin.pass_to(at)
            crowd = min((each for each in waiting if each.priority is first), key=twin.used)
            if crowd is mine and not mine.waiting:
                return at
            crowd.waiting -= 1
            twin.begin(crowd.tenant, urgent=first is Priority.URGENT)
    ahead = sum(count for _, count in ahead_of(mine, crowds))
    is_urgent = mine.priority is Priority.URGENT
    if cap == math.inf:
        return _next(twins, urgent=is_urgent)[1] + ahead * min(twin.gap for twin in twins) / len(twins)
    minutes, rest = divmod(ahead, int(cap))
    for _ in range(rest):
        twin, at = _next(twins, urgent=is_urgent)
        twin.pass_to(at)
        twin.begin("", urgent=is_urgent)
    return _next(twins, urgent=is_urgent)[1] + minutes * (MINUTE + SLACK)


def _next(twins: Sequence[Twin], *, urgent: bool) -> tuple[Twin, float]:
    """Return which mailbox is free first, and when."""
    found = [(twin.opens(urgent=urgent), place) for place, twin in enumerate(twins)]
    at, place = min(found)
    return twins[place], at
