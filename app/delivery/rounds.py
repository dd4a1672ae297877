"""Chooses the mailboxes that one pass of the dispatch looks at, so that a pass has a bound whatever senders there are.

Every configured mailbox, and every mailbox of a wildcard that has sessions. Of the others that a wildcard would sign in
as, where something is due, so many a pass and each in its turn: they are made when their turn comes, and what was
forgotten meanwhile is made anew.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain, islice

from app.delivery.board import Board
from app.delivery.desk import Desk
from app.delivery.desks import Desks
from app.delivery.routes import Routes

#: How many senders without sessions a pass looks at.
MOST = 200


class Rounds:
    """See the module's promise."""

    def __init__(self, board: Board, routes: Routes, desks: Desks) -> None:
        self._board = board
        self._routes = routes
        self._desks = desks
        self._begin = 0

    def next(self, now: datetime) -> tuple[list[Desk], bool]:
        """Return the desks to look at, and whether that was all of them."""
        self._desks.tidy()
        wildcards = self._desks.factories  # which carry nothing themselves
        named = [desk for desk in self._desks.values() if desk.umbrella is None and desk.spec.name not in wildcards]
        if not wildcards:
            return named, True
        due = list(self._board.due_senders(now))
        others = [key for key in due if not self._is_live(key)]
        begin = self._begin if self._begin < len(others) else 0
        turn = list(islice(chain(others[begin:], others[:begin]), MOST))
        self._begin = begin + len(turn)
        chosen = {id(desk): desk for key in turn for level in self._routes.levels(key) for desk in level}
        live = [desk for desk in self._desks.values() if desk.umbrella is not None and desk.is_live()]
        chosen.update((id(desk), desk) for desk in live)
        return [*named, *(each for each in chosen.values() if each.umbrella is not None)], len(turn) == len(others)

    def _is_live(self, sender_key: str) -> bool:
        return any(
            desk is not None and desk.is_live()
            for name in self._desks.factories
            for desk in (self._desks.get(f"{name}/{sender_key}"),)
        )
