"""Foretells when a message will be handed over, and names what limits it.

An estimate from what is known in memory: the ledgers, the sessions, how long transactions take, how much waits ahead.
None only where a person must act first. Pure but for the desks and the board it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.delivery.board import Board
from app.delivery.desk import Desk
from app.delivery.gates import Gates, Stop
from app.delivery.routes import Routes
from app.kit.clock import Clock
from app.mail.message import Priority

# A wait below this is not worth a name.
_NOTEWORTHY = 2.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a message will go (None: a person must act first), what limits it (code and sentence), and until when."""

    send_at: datetime | None
    code: str | None = None
    text: str | None = None
    until: datetime | None = None


class Forecaster:
    """Foretells from the present state of delivery."""

    def __init__(self, board: Board, routes: Routes, share: Mapping[str, float], gates: Gates, clock: Clock) -> None:
        self._board = board
        self._routes = routes
        self._share = share
        self._gates = gates
        self._clock = clock

    def outlook(
        self, tenant: str, sender_key: str, priority: Priority, due: datetime, ahead_in_lane: int | None = None
    ) -> Outlook:
        """Return the outlook of a message of this tenant and From; ``ahead_in_lane`` where its place is known."""
        now, boot = self._clock.now(), self._clock.boot()
        desks = self._routes.candidates(sender_key)
        if not desks:
            return Outlook(None, "mailbox-parked", "no mailbox covers the From address")
        working = [desk for desk in desks if desk.standing_still is None]
        if not working:
            return self._parked(desks[0], now)
        ahead = self._ahead(tenant, sender_key, priority, working, ahead_in_lane, now, boot)
        each = ahead // len(working)
        choices = [self._at_desk(desk, priority, each, now, boot) for desk in working]
        wait, outlook = min(choices, key=lambda choice: choice[0])
        stops = [self._gates.stop(tenant, sender_key, desk, now, boot) for desk in working]
        if (stop := stops[0]) is not None and None not in stops:
            return _stopped(stop, outlook)
        start = now + timedelta(seconds=wait)
        if due > start:
            return Outlook(due, "scheduled", f"it is due at {due.isoformat()}", due) if due > now else Outlook(start)
        return outlook

    def external_stop(self, sender_key: str, recipients: Iterable[str]) -> Outlook | None:
        """Return why and until when these recipients (comparison forms) wait, where Exchange takes no external ones."""
        boot = self._clock.boot()
        desks = self._routes.candidates(sender_key)
        if not desks or not all(desk.is_external_full(boot) for desk in desks):
            return None
        own = desks[0].spec.own_domains
        if all(key.rpartition("@")[2] in own for key in recipients):
            return None
        until = self._clock.now() + timedelta(seconds=min(desk.external_full_until for desk in desks) - boot)
        text = "Exchange takes no more external recipients from this organisation for the moment"
        return Outlook(until, "mailbox-day-budget", text, until)

    def offers_smtputf8(self, sender_key: str) -> bool | None:
        """Return whether a mailbox that may carry this From takes addresses outside ASCII; None: not known yet."""
        known = [desk.sessions.features for desk in self._routes.candidates(sender_key)]
        told = [features.smtputf8 for features in known if features is not None]
        return any(told) if told and (any(told) or len(told) == len(known)) else None

    @staticmethod
    def _parked(desk: Desk, now: datetime) -> Outlook:
        row = desk.standing_still
        if row is None:
            return Outlook(now)
        send_at = max(now, row.until) if row.until else None
        if row is desk.parked and desk.umbrella is not None:
            return Outlook(send_at, "sender-held", f"nobody may sign in as {desk.spec.address}: {row.cause}", row.until)
        return Outlook(
            send_at, "mailbox-parked", f"the mailbox {desk.spec.configured} is parked: {row.cause}", row.until
        )

    def _at_desk(self, desk: Desk, priority: Priority, ahead: int, now: datetime, boot: float) -> tuple[float, Outlook]:
        paced = desk.ledger.opening(boot, priority, ahead, desk.reserve())
        worked = ahead * desk.seconds_each / desk.session_limit(boot)
        wait = max(paced, worked)
        code, text, until = None, None, None
        if wait > _NOTEWORTHY and paced >= worked:
            code = "mailbox-minute-budget"
            text = f"the mailbox {desk.spec.name} may send {desk.ledger.budget.per_minute} messages a minute"
        day = desk.ledger.wait_day(boot, priority, 1 + ahead)
        if day > wait and day < math.inf:
            wait = day
            code, until = "mailbox-day-budget", now + timedelta(seconds=day)
            text = f"the mailbox {desk.spec.name} may address {desk.ledger.budget.per_day} recipients a day"
        if desk.trouble is not None:
            wait = max(wait, desk.trouble.retry_at - boot, 0.0)
            code, text = "connection", desk.trouble.text
            until = now + timedelta(seconds=max(0.0, desk.trouble.retry_at - boot))
        send_at = now + timedelta(seconds=wait + desk.seconds_each)
        return wait, Outlook(send_at, code, text, until)

    def _ahead(
        self,
        tenant: str,
        sender_key: str,
        priority: Priority,
        desks: list[Desk],
        in_lane: int | None,
        now: datetime,
        boot: float,
    ) -> int:
        """Return how many messages go before one: higher classes, the tenant's own, and others by their shares.

        Of the others, mail that waits for a person (a paused tenant, a held sender) goes before nobody.
        """
        higher = own = 0
        others: dict[str, int] = {}
        mine = set(map(id, desks))
        for lane in self._board:
            if lane.key.priority > priority or not lane.waiting:
                continue
            if not any(id(desk) in mine for desk in self._routes.candidates(lane.sender_key)):
                continue
            kept = self._gates.stop(lane.tenant, lane.sender_key, desks[0], now, boot)
            if kept is not None and kept.needs_person:
                continue
            if lane.key.priority < priority:
                higher += lane.waiting
            elif lane.tenant == tenant:
                if lane.sender_key == sender_key and in_lane is not None:
                    own += in_lane
                else:
                    own += lane.waiting
            else:
                others[lane.tenant] = others.get(lane.tenant, 0) + lane.waiting
        share = self._share.get(tenant, 1.0)
        between = sum(
            min(waiting, math.ceil((own + 1) * self._share.get(other, 1.0) / share))
            for other, waiting in others.items()
        )
        return higher + own + between


def _stopped(stop: Stop, outlook: Outlook) -> Outlook:
    """Return the outlook of mail that is kept back: never where a person must act, else when that is over."""
    if stop.needs_person:
        return Outlook(None, stop.code, stop.text, stop.until)
    times = [at for at in (outlook.send_at, stop.until) if at is not None]
    return Outlook(max(times, default=None), stop.code, stop.text, stop.until)
