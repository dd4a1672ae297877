"""Which mailbox may serve which lane, and whose turn is next at a mailbox.

The mailbox is chosen when a message is picked, not when it is accepted, so nothing sticks to a parked one. Load is
shared by free budget among the mailboxes of the same precedence; a parked or unreachable one is passed over at once.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from app.delivery.board import Board, Lane
from app.delivery.desk import Desk
from app.delivery.desks import Desks
from app.delivery.gates import Gates
from app.mail.address import parse_address
from app.mail.message import Priority
from app.mail.senders import Cover, Directory

# A mailbox yields to another one only if that has clearly more room; equal ones would wait for each other.
_CLEARLY = 0.02


class Routes:
    """Coverage of From addresses by the mailboxes at work."""

    def __init__(self, directory: Directory, desks: Desks) -> None:
        self._directory = directory
        self._desks = desks
        self._levels: dict[str, tuple[tuple[Cover, ...], ...]] = {}
        self._named: dict[str, tuple[tuple[Desk, ...], ...]] = {}  # but for wildcards, whose desks may go again

    def reconfigure(self, directory: Directory) -> None:
        """Go on with another directory."""
        self._directory = directory
        self._levels.clear()
        self._named.clear()

    def levels(self, sender_key: str) -> tuple[tuple[Desk, ...], ...]:
        """Return the desks that cover a From, by precedence."""
        known = self._named.get(sender_key)
        if known is not None:
            return known
        covers = self._covers(sender_key)
        found = tuple(
            tuple(desk for cover in level if (desk := self._desks.of_cover(cover, sender_key)) is not None)
            for level in covers
        )
        if not any(cover.address.is_wildcard for level in covers for cover in level):
            self._named[sender_key] = found
        return found

    def covers(self, names: Container[str], sender_key: str) -> bool:
        """Whether one of the mailboxes configured by these names covers a From; makes no desk for it."""
        return any(cover.name in names for level in self._covers(sender_key) for cover in level)

    def _covers(self, sender_key: str) -> tuple[tuple[Cover, ...], ...]:
        known = self._levels.get(sender_key)
        if known is None:
            known = self._directory.levels(parse_address(sender_key))
            if len(self._levels) > 10_000:
                self._levels.clear()
                self._named.clear()
            self._levels[sender_key] = known
        return known

    def candidates(self, sender_key: str) -> tuple[Desk, ...]:
        """Return the desks of the best precedence that has an available one; none available: all of the best."""
        levels = self.levels(sender_key)
        for level in levels:
            if any(desk.is_available() for desk in level):
                return level
        return levels[0] if levels else ()

    def serves(self, desk: Desk, lane: Lane, boot: float) -> bool:
        """Whether this desk is to take the lane's next message, rather than one with more room."""
        if not self.covers((desk.spec.configured,), lane.sender_key):
            return False
        candidates = self.candidates(lane.sender_key)
        if desk not in candidates:
            return False
        if len(candidates) == 1:
            return True
        mine = desk.ledger.free_share(boot)
        return not any(
            other.is_available()
            and other.free_sessions(boot, lane.key.priority) > 0
            and lane.unfit.get(other.spec.name, 0.0) <= boot
            and other.ledger.free_share(boot) > mine + _CLEARLY
            and not other.ledger.wait(boot, lane.key.priority, 1, other.reserve())
            for other in candidates
            if other is not desk
        )


class Turns:
    """Whose turn is next at a mailbox: class first, then tenants by what they used of the window, over their share."""

    def __init__(self, board: Board, routes: Routes, share: Mapping[str, float], gates: Gates) -> None:
        self._board = board
        self._routes = routes
        self._share = share
        self._gates = gates

    def of(self, desk: Desk, priority: Priority, now: datetime, boot: float, at_most: int) -> Sequence[Lane]:
        """Return the lanes of a class that the desk may serve now, in order, the first ``at_most`` of them."""
        return list(islice(self._in_order(desk, priority, now, boot), at_most))

    def _in_order(self, desk: Desk, priority: Priority, now: datetime, boot: float) -> Iterator[Lane]:
        def used(tenant: str) -> float:
            return desk.ledger.used_by(tenant, boot) / self._share.get(tenant, 1.0)

        def is_open(lane: Lane) -> bool:
            return (
                lane.unfit.get(desk.spec.name, 0.0) <= boot
                and self._routes.serves(desk, lane, boot)
                and self._gates.stop(lane.tenant, lane.sender_key, desk, now, boot) is None
            )

        return iter(self._board.turns(priority, now, used, is_open, desk.spec.sender_key))

    def next(self, desk: Desk, now: datetime, boot: float) -> Lane | None:
        """Return the lane whose message goes next at a desk, if its ledger lets one go."""
        for priority in Priority:
            if not desk.may_begin(boot, priority) or desk.ledger.wait(boot, priority, 1, desk.reserve()) > 0:
                continue
            lane = next(self._in_order(desk, priority, now, boot), None)
            if lane is not None:
                return lane
        return None
