"""What waits where: every lane with waiting mail, and whose turn it is.

An image of the store's queue, small enough for memory: a lane (one tenant, one From, one class) with the instant its
first message is due. It decides whose turn it is; the claim itself is the store's. An entry may be wrong in one
direction only: it may say "look here" where nothing is; it never forgets a message that is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from app.delivery.dues import Dues
from app.mail.message import Priority
from app.queue.rows import LaneKey


@dataclass(eq=False, slots=True)
class Lane:
    """Waiting mail of one (tenant, From) pair in one class. ``dues`` and what is told from it are estimates.

    ``unfit`` says until when (boot seconds) a mailbox need not look again: nothing there fits it. ``looks`` counts
    looks under way; ``changes`` and ``noted`` keep what was noted while one was, so that its answer, already old,
    cannot hide a newer message.
    """

    key: LaneKey
    tenant: str
    sender_key: str
    next_due: datetime | None = None
    dues: Dues = field(default_factory=Dues)
    unfit: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    changes: int = 0
    noted: datetime | None = None

    @property
    def waiting(self) -> int:
        """How many messages wait, due or not."""
        return self.dues.total

    def is_due(self, now: datetime) -> bool:
        """Whether a message of the lane may go as far as its own time is concerned."""
        return self.next_due is not None and self.next_due <= now


class Board:
    """All lanes, by class and tenant."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._classes: dict[Priority, dict[str, dict[LaneKey, Lane]]] = {each: {} for each in Priority}
        self._senders: dict[str, dict[LaneKey, Lane]] = {}

    def __repr__(self) -> str:
        return f"<Board {len(self._lanes)} lanes, {sum(lane.waiting for lane in self._lanes.values())} waiting>"

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def lane(self, key: LaneKey) -> Lane | None:
        """Return a lane that has something waiting."""
        return self._lanes.get(key)

    def note(self, key: LaneKey, tenant: str, sender_key: str, due: datetime, *, more: int = 1) -> Lane:
        """Note that a message waits in a lane and is due at ``due``; ``more`` messages than before wait there."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = Lane(key, tenant, sender_key)
            self._lanes[key] = lane
            self._classes[key.priority].setdefault(tenant, {})[key] = lane
            self._senders.setdefault(sender_key, {})[key] = lane
        lane.dues.add(due, more)
        lane.unfit.clear()
        lane.changes += 1
        lane.noted = due if lane.noted is None else min(lane.noted, due)
        lane.next_due = due if lane.next_due is None else min(lane.next_due, due)
        return lane

    def look(self, lane: Lane) -> int:
        """Begin a look into the store; hand the number to ``looked``."""
        if not lane.looks:
            lane.noted = None
        lane.looks += 1
        return lane.changes

    def looked(self, lane: Lane, seen: int, next_due: datetime | None, taken: int) -> None:
        """Keep what a look found: ``taken`` messages were claimed, the next is due at ``next_due``."""
        lane.looks -= 1
        lane.dues.take(taken)
        if lane.changes != seen and lane.noted is not None:
            next_due = lane.noted if next_due is None else min(next_due, lane.noted)
        lane.next_due = next_due
        if next_due is None and not lane.looks:
            self._drop(lane)

    def left(self, key: LaneKey, count: int = 1) -> None:
        """Keep that messages left a lane otherwise than by a claim (canceled, expired)."""
        lane = self._lanes.get(key)
        if lane:
            lane.dues.take(count)

    def _drop(self, lane: Lane) -> None:
        self._lanes.pop(lane.key, None)
        for groups, name in ((self._classes[lane.key.priority], lane.tenant), (self._senders, lane.sender_key)):
            lanes = groups.get(name)
            if lanes is not None:
                lanes.pop(lane.key, None)
                if not lanes:
                    del groups[name]

    def next_due(self, now: datetime) -> datetime | None:
        """Return the first instant after ``now`` at which a lane becomes due."""
        return min((lane.next_due for lane in self if lane.next_due is not None and lane.next_due > now), default=None)

    def of_sender(self, sender_key: str) -> Iterator[Lane]:
        """Return the lanes of a From."""
        return iter(self._senders.get(sender_key, {}).values())

    def due_senders(self, now: datetime) -> Iterator[str]:
        """Yield every From of which something is due."""
        for sender_key, lanes in self._senders.items():
            if any(lane.is_due(now) for lane in lanes.values()):
                yield sender_key

    def turns(
        self,
        priority: Priority,
        now: datetime,
        weight: Callable[[str], float],
        is_open: Callable[[Lane], bool],
        sender_key: str | None = None,
    ) -> Iterable[Lane]:
        """Yield the lanes of a class whose turn it may be, in order, where ``sender_key`` is given of that From alone.

        Tenants go by ``weight`` (what they have used of the window, over their share), the least first; within a
        tenant the lane that has been due the longest. ``is_open`` says which lanes may be served at all.
        """
        tenants = self._classes[priority] if sender_key is None else self._of_sender(sender_key, priority)
        for tenant in sorted(tenants, key=weight) if len(tenants) > 1 else list(tenants):
            due = [lane for lane in tenants[tenant].values() if lane.is_due(now)]
            due.sort(key=lambda lane: (lane.next_due, lane.key))
            yield from filter(is_open, due)

    def _of_sender(self, sender_key: str, priority: Priority) -> dict[str, dict[LaneKey, Lane]]:
        found: dict[str, dict[LaneKey, Lane]] = {}
        for key, lane in self._senders.get(sender_key, {}).items():
            if key.priority is priority:
                found.setdefault(lane.tenant, {})[key] = lane
        return found
