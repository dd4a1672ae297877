"""Foretells when a message will be handed over, and names what limits it.

An estimate from what is known in memory: the ledgers, the sessions, how long transactions take, how much waits ahead.
None only where a person must act first. Pure but for the desks and the board it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.delivery.board import Board, Lane
from app.delivery.desk import Desk
from app.delivery.gates import Gates, Stop
from app.delivery.parking import BY_OPERATOR
from app.delivery.rehearsal import Crowd, Pace, Twin, ahead_of, turn_at
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
        mine, crowds = self._crowds(tenant, sender_key, priority, due, working, ahead_in_lane, now, boot)
        outlook = self._turn(working, mine, crowds, now, boot)
        stops = [self._gates.stop(tenant, sender_key, desk, now, boot) for desk in working]
        if (stop := stops[0]) is not None and None not in stops:
            return _stopped(stop, outlook, now)
        if outlook.send_at is not None and due > outlook.send_at:
            return Outlook(due, "scheduled", f"it is due at {due.isoformat()}", due)
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
        if row is desk.parked and desk.umbrella is not None and row.until is not None:
            return Outlook(send_at, "sender-held", f"nobody may sign in as {desk.spec.address}: {row.cause}", row.until)
        name = desk.spec.name if row is desk.parked else desk.spec.configured
        # Which operator it was is not the tenants' matter.
        why = "parked by an operator" if row.reason == BY_OPERATOR else f"parked: {row.cause}"
        return Outlook(send_at, "mailbox-parked", f"the mailbox {name} is {why}", row.until)

    def _turn(self, desks: list[Desk], mine: Crowd, crowds: list[Crowd], now: datetime, boot: float) -> Outlook:
        """Return when the message behind ``mine`` goes through one of these desks, and what limits it."""
        near = [desk for desk in desks if desk.is_available()] or desks
        ahead = ahead_of(mine, crowds)  # before the rehearsal, which uses the crowds up
        days = [(self._day_wait(desk, mine, ahead, len(near), boot), desk) for desk in near]
        day, fullest = min(days, key=lambda each: each[0])
        troubled = min(near, key=lambda desk: desk.blocked_for(boot))
        twins = [_twin(desk, boot) for desk in near]
        full = min(desk.ledger.day_full(boot) for desk in near)
        wait = full + turn_at(mine, crowds, twins) - boot
        each = min(desk.seconds_each for desk in near)
        code, text, until = None, None, None
        if wait > _NOTEWORTHY and (desk := near[0]).ledger.budget.per_minute:
            code = "mailbox-minute-budget"
            text = f"the mailbox {desk.spec.name} may send {desk.ledger.budget.per_minute} messages a minute"
        if full > 0 or day > wait:
            wait = max(wait, day)
            code, until = "mailbox-day-budget", now + timedelta(seconds=max(full, day))
            text = f"the mailbox {fullest.spec.name} may address {fullest.ledger.budget.per_day} recipients a day"
        if (trouble := troubled.trouble) is not None and not troubled.sessions.open:
            knock = max(0.0, trouble.retry_at - boot)
            wait = max(wait, knock)
            code, text, until = "connection", trouble.text, now + timedelta(seconds=knock)
        return Outlook(now + timedelta(seconds=wait + each / 2), code, text, until)

    @staticmethod
    def _day_wait(desk: Desk, mine: Crowd, ahead: list[tuple[Crowd, int]], desks: int, boot: float) -> float:
        """Return in how many seconds the day has room for a whole message of the usual size."""
        ledger = desk.ledger
        before = sum(count * ledger.usual_size(crowd.tenant, crowd.priority) for crowd, count in ahead) / desks
        return ledger.day_turn(boot, mine.priority, before + ledger.usual_size(mine.tenant, mine.priority) - 1)

    def _crowds(
        self,
        tenant: str,
        sender_key: str,
        priority: Priority,
        due: datetime,
        desks: list[Desk],
        in_lane: int | None,
        now: datetime,
        boot: float,
    ) -> tuple[Crowd, list[Crowd]]:
        """Return what goes before a message of its own tenant, and that among what waits in its class and above.

        Mail that waits for a person (a paused tenant, a held sender) goes before nobody, nor does what is not due.
        """
        crowds: dict[tuple[str, Priority], Crowd] = {}

        def crowd_of(lane_tenant: str, lane_priority: Priority) -> Crowd:
            crowd = Crowd(lane_tenant, lane_priority, self._share.get(lane_tenant, 1.0), 0)
            return crowds.setdefault((lane_tenant, lane_priority), crowd)

        places = set(map(id, desks))
        names = {desk.spec.configured for desk in desks}
        is_alone = all(desk.spec.sender_key is not None for desk in desks)  # a wildcard's carry one From each
        lanes = list(self._board.of_sender(sender_key) if is_alone else self._board)
        own = next((lane.key for lane in lanes if _is(lane, tenant, sender_key, priority)), None)
        for lane in lanes:
            if lane.key.priority > priority or not lane.waiting or not self._routes.covers(names, lane.sender_key):
                continue
            if not any(id(desk) in places for desk in self._routes.candidates(lane.sender_key)):
                continue
            kept = self._gates.stop(lane.tenant, lane.sender_key, desks[0], now, boot)
            if kept is not None and kept.needs_person:
                continue
            crowd = crowd_of(lane.tenant, lane.key.priority)
            if lane.tenant != tenant or lane.key.priority < priority:
                crowd.waiting += lane.dues.due(now)
            elif lane.key == own and in_lane is not None:
                crowd.waiting += in_lane
            else:
                crowd.waiting += lane.dues.before(due, lane.key, own or lane.key, now)
        return crowd_of(tenant, priority), list(crowds.values())


def _is(lane: Lane, tenant: str, sender_key: str, priority: Priority) -> bool:
    return lane.tenant == tenant and lane.sender_key == sender_key and lane.key.priority is priority


def _twin(desk: Desk, boot: float) -> Twin:
    ledger, reserve = desk.ledger, desk.reserve()
    each = desk.seconds_each
    minute, usage = ledger.rehearse(boot, each)
    pace = Pace(
        urgent=ledger.rate(Priority.URGENT, reserve),
        other=ledger.rate(Priority.NORMAL, reserve),
        seconds=each,
        gap=each / desk.session_limit(boot),
    )
    return Twin(minute, usage, pace, boot)


def _stopped(stop: Stop, outlook: Outlook, now: datetime) -> Outlook:
    """Return the outlook of mail that is kept back: never where a person must act, else its turn when that is over."""
    if stop.needs_person:
        return Outlook(None, stop.code, stop.text, stop.until)
    return Outlook(later(outlook.send_at, stop.until, now), stop.code, stop.text, stop.until)


def later(send_at: datetime | None, until: datetime | None, now: datetime) -> datetime | None:
    """Return when a message goes that would go at ``send_at`` if it were not kept back ``until`` then."""
    if send_at is None or until is None or until <= now:
        return send_at
    return send_at + (until - now)
