"""Lets the mailboxes of a wildcard prove themselves: few sign-ins that may be refused, and no more refusals an hour.

Exchange may have granted an app some mailboxes of a domain and not others; the first sign-in as each tells. A refusal
concerns that sender alone, whose mail then waits for an hour. A connection takes at most three such refusals an hour,
sign-ins that may still be refused counted in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from app.delivery.desk import Desk
from app.delivery.gates import Stop

#: For how long the mail of a sender waits as whom no sign-in succeeded.
HELD_FOR = timedelta(hours=1)
_REFUSALS = 3
_HOUR = 3600.0


class Proving:
    """A gate; see the module's promise."""

    def __init__(self, desks: Mapping[str, Desk]) -> None:
        self._desks = desks
        self._refused: dict[str, list[float]] = {}  # by connection, when (boot)

    def restore(self, now: datetime, boot: float) -> None:
        """Count the refusals of which mailboxes are still parked since the last run."""
        for desk in self._desks.values():
            if desk.umbrella is not None and desk.parked is not None:
                self.refused(desk, boot - max(0.0, (now - desk.parked.since).total_seconds()))

    def refused(self, desk: Desk, boot: float, times: int = 1) -> None:
        """Count that so many sign-ins as a wildcard's mailbox were refused.

        After that no other mailbox of the wildcard asks for a fresh token on its first sign-in.
        """
        if desk.umbrella is not None:
            desk.umbrella.is_token_good = True
        self._refused.setdefault(desk.spec.connection, []).extend([boot] * times)

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:  # noqa: ARG002
        """Return why a wildcard's mailbox may not try its first sign-in now; None: it may, or need not."""
        if desk.umbrella is None or desk.is_proven(boot) or desk.workers:
            return None
        refused = self._recent(desk.spec.connection, boot)
        if len(refused) + self._at_stake(desk, boot) <= _REFUSALS:
            return None
        text = f"nobody has signed in as {desk.spec.address} yet, and others were refused: few are tried at once"
        until = now + timedelta(seconds=refused[0] + _HOUR - boot) if refused else None
        return Stop("sender-unproven", text, until)

    def opens_in(self, boot: float) -> float:
        """Return in how many seconds the oldest refusal no longer counts."""
        ends = [refused[0] + _HOUR - boot for name in self._refused if (refused := self._recent(name, boot))]
        return max(0.0, min(ends, default=math.inf))

    def _recent(self, connection: str, boot: float) -> list[float]:
        kept = sorted(at for at in self._refused.get(connection, ()) if at + _HOUR > boot)
        if kept:
            self._refused[connection] = kept
        else:
            self._refused.pop(connection, None)
        return kept

    def _at_stake(self, desk: Desk, boot: float) -> int:
        """Return how many refusals may come of this first sign-in and of those under way: one each, two where a fresh
        token would be tried.
        """
        trying = [
            each
            for each in self._desks.values()
            if each.workers and not each.is_proven(boot) and each.spec.connection == desk.spec.connection
        ]
        return sum(1 if each.umbrella.is_token_good else 2 for each in (desk, *trying) if each.umbrella is not None)
