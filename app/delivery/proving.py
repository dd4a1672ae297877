"""Lets the mailboxes of a wildcard prove themselves: few sign-ins that may be refused, and no more refusals an hour.

Exchange may have granted an app some mailboxes of a domain and not others; the first sign-in as each tells. A refusal
concerns that sender alone, whose mail then waits for an hour. A connection takes at most three such refusals an hour,
sign-ins that may still be refused counted in. As mailboxes that are proven, few sign in at once.
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
# How many may sign in at once as mailboxes that are proven: should the app have lost its rights, so many are refused.
_ABREAST = 3
_LOOK_AGAIN = 0.1


class Proving:
    """A gate; see the module's promise."""

    def __init__(self, desks: Mapping[str, Desk]) -> None:
        self._desks = desks
        self._refused: dict[str, list[float]] = {}  # by connection, when (boot)
        self._trying: set[Desk] = set()  # mailboxes without a session of which somebody seeks one

    def restore(self, now: datetime, boot: float) -> None:
        """Count the refusals of which mailboxes are still parked since the last run.

        The first of a wildcard may have been two: a fresh token was tried as well.
        """
        held = [(desk.parked.since, desk) for desk in self._desks.values() if desk.umbrella and desk.parked]
        for since, desk in sorted(held, key=lambda pair: pair[0]):
            self.refused(desk, boot - max(0.0, (now - since).total_seconds()), self._cost(desk))

    def begins(self, desk: Desk) -> None:
        """Keep that somebody seeks a session of a mailbox."""
        if desk.umbrella is not None and not desk.sessions.open:
            self._trying.add(desk)

    def refused(self, desk: Desk, boot: float, times: int = 1) -> None:
        """Count that so many sign-ins as a wildcard's mailbox were refused.

        After that no other mailbox of the wildcard asks for a fresh token on its first sign-in. Where one that was
        proven is refused, what the app was granted has changed: the others have to prove themselves anew.
        """
        if desk.umbrella is not None:
            desk.umbrella.is_token_good = True
        if desk.is_proven(boot):
            for each in self._desks.values():
                if each.umbrella is not None and each.spec.connection == desk.spec.connection:
                    each.doubt()
        self._refused.setdefault(desk.spec.connection, []).extend([boot] * times)

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:  # noqa: ARG002
        """Return why a wildcard's mailbox may not try its first sign-in now; None: it may, or need not."""
        if desk.umbrella is None or desk.is_live():
            return None
        trying = [each for each in self._under_way() if each.spec.connection == desk.spec.connection]
        if desk.is_proven(boot):
            return None if len(trying) < _ABREAST else Stop("connection", "others are signing in; few do so at once")
        refused = self._recent(desk.spec.connection, boot)
        at_stake = sum(self._cost(each) for each in (desk, *trying) if each is desk or not each.is_proven(boot))
        if len(refused) + at_stake <= _REFUSALS:
            return None
        text = f"nobody has signed in as {desk.spec.address} yet, and others were refused: few are tried at once"
        until = now + timedelta(seconds=refused[0] + _HOUR - boot) if refused else None
        return Stop("sender-unproven", text, until)

    def opens_in(self, boot: float) -> float:
        """Return in how many seconds the oldest refusal no longer counts, or a sign-in under way may have ended."""
        if self._under_way():
            return _LOOK_AGAIN
        ends = [refused[0] + _HOUR - boot for name in list(self._refused) if (refused := self._recent(name, boot))]
        return max(0.0, min(ends, default=math.inf))

    def _under_way(self) -> set[Desk]:
        """Return the mailboxes that are signing in and have no session yet."""
        self._trying = {each for each in self._trying if each.workers and not each.sessions.open}
        return self._trying

    def _recent(self, connection: str, boot: float) -> list[float]:
        kept = sorted(at for at in self._refused.get(connection, ()) if at + _HOUR > boot)
        if kept:
            self._refused[connection] = kept
        else:
            self._refused.pop(connection, None)
        return kept

    @staticmethod
    def _cost(desk: Desk) -> int:
        """Return how many refusals may come of a first sign-in: one, or two where a fresh token would be tried."""
        return 1 if desk.umbrella is not None and desk.umbrella.is_token_good else 2
