"""Stops the guilty sender before Exchange blocks the mailbox for everybody (``550 5.2.251``-``5.2.255``).

Exchange counts a mailbox's refusals by family and answers too many with a block of unknown length. So they are counted
here first: by (tenant, From) pair, by mailbox and family, and by address. Decides only, from what it was told, with
time as an argument; ``senders`` acts on it and the store keeps it.

A suspected pair (``standing``) has one transaction in flight, and waits while the mailbox has no room for another
refusal of that family.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from app.delivery.standing import DAY, FAMILIES, HOLDING, INVALID, SEND_AS, forgives, struck, succeeded, suspected
from app.mail.verdict import Effect, Judged, Outcome, Scope, Verdict, summed_up
from app.queue.rows import Claim
from app.queue.sender_rows import FamilyRefusal, RefusedAddress, SenderChange, SenderRecords, SenderRow

WINDOW_SECONDS: Final = 600.0
WINDOW_REFUSALS: Final = 3
# Refusals noted under another boot count as made at the start, unless the wall clock puts them so far back.
_SURELY_OVER: Final = timedelta(hours=1)
# A newer success is worth a write only when the one on disk is older than this.
_SUCCESS_GRAIN: Final = timedelta(hours=1)

_NONE: Final[frozenset[str]] = frozenset()

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant on both clocks; ``boot`` seconds mean something only beside ``boot_id``."""

    now: datetime
    boot: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a pair's mail waits: ``is_held`` for a person, else for a transaction under way or until ``until_boot``."""

    is_held: bool
    text: str
    until_boot: float | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an attempt came to once its sender is regarded, what of it must be kept, and whether it held the pair."""

    judged: Judged
    change: SenderChange | None
    has_held: bool = False


class Breaker:
    """The senders, mailboxes and addresses of one process."""

    def __init__(self) -> None:
        self._rows: dict[Pair, SenderRow] = {}
        self._saved_success: dict[Pair, datetime] = {}
        self._flights: Counter[tuple[Pair, str]] = Counter()
        self._refusals: dict[tuple[str, str], list[float]] = {}
        self._accused: dict[tuple[Pair, str], dict[str, float]] = {}  # families refused a pair there, and when
        self._addresses: dict[tuple[str, str], RefusedAddress] = {}
        self._prune_at: datetime | None = None

    def __repr__(self) -> str:
        held = sum(row.held is not None for row in self._rows.values())
        return (
            f"<Breaker {len(self._rows)} senders, {held} held, {self._flights.total()} in flight, "
            f"{len(self._addresses)} addresses refused>"
        )

    def restore(self, records: SenderRecords, moment: Moment) -> None:
        """Take over what was kept before a restart."""
        for row in records.senders:
            self.put(row)
            if row.last_success_at is not None:
                self._saved_success[row.tenant, row.sender_key] = row.last_success_at
        for refusal in records.refusals:
            at = _boot_of(refusal, moment)
            if at is not None:
                self._count(refusal.mailbox, (refusal.family,), at)
        for address in records.addresses:
            # However the wall clock has jumped, never longer than a day.
            self._remember(replace(address, until=min(address.until, moment.now + DAY)), moment.now)

    def rows(self) -> Iterable[SenderRow]:
        """Return every sender of which something is known."""
        return self._rows.values()

    def row(self, pair: Pair) -> SenderRow | None:
        """Return what is known of a sender."""
        return self._rows.get(pair)

    def put(self, row: SenderRow) -> None:
        """Know this of a sender from now on."""
        self._rows[row.tenant, row.sender_key] = row

    def forget_learnt(self, row: SenderRow) -> None:
        """Forget which addresses a sender learnt to be refused, and which mailboxes refused it."""
        self._addresses = {key: each for key, each in self._addresses.items() if each.pair != row.pair}
        pair = (row.tenant, row.sender_key)
        self._accused = {key: each for key, each in self._accused.items() if key[0] != pair}

    # -- before a transaction

    def closed(self, pair: Pair, mailbox: str, now: datetime, boot: float) -> Closed | None:
        """Return why no transaction of a pair may begin through a mailbox now."""
        row = self._rows.get(pair)
        if row is not None and row.held is not None:
            return Closed(True, f"the sender is held: {row.held.cause or row.held.reason}")
        doubts = self._doubts(pair, now)
        if self._accused and (there := self._accused.get((pair, mailbox))):
            # A success elsewhere says nothing for this mailbox.
            doubts |= {family for family, at in there.items() if at + WINDOW_SECONDS > boot}
        if not doubts:
            return None
        if any(each == pair for each, _ in self._flights):
            return Closed(False, "one message of this sender is under way, to learn whether it may send")
        worst: Closed | None = None
        for family in sorted(doubts):
            found = self._full(mailbox, family, now, boot)
            if found is not None and (worst is None or (found.until_boot or 0.0) > (worst.until_boot or 0.0)):
                worst = found
        return worst

    def _full(self, mailbox: str, family: str, now: datetime, boot: float) -> Closed | None:
        refusals = [at for at in self._refusals.get((mailbox, family), ()) if at + WINDOW_SECONDS > boot]
        flights = sum(
            count for (pair, through), count in self._flights.items()
            if through == mailbox and family in self._doubts(pair, now)
        )  # fmt: skip
        if len(refusals) + flights < WINDOW_REFUSALS:
            return None
        text = f"the mailbox {mailbox} has had its refusals for ten minutes ({family}); only proven senders go on"
        over = len(refusals) + flights - WINDOW_REFUSALS
        until = sorted(refusals)[over] + WINDOW_SECONDS if over < len(refusals) else None
        return Closed(False, text, until)

    def _doubts(self, pair: Pair, now: datetime) -> frozenset[str]:
        row = self._rows.get(pair)
        if row is None:
            return FAMILIES
        return suspected(row, now) if row.strikes or not row.is_proven else _NONE

    def opens_in(self, boot: float) -> float:
        """Return in how many seconds a mailbox has room for a refusal again (inf: all of them have)."""
        ends = (at + WINDOW_SECONDS - boot for times in self._refusals.values() for at in times)
        return min((seconds for seconds in ends if seconds > 0), default=math.inf)

    def begin(self, pair: Pair, mailbox: str) -> None:
        """Count a transaction in."""
        self._flights[pair, mailbox] += 1

    def give_back(self, pair: Pair, mailbox: str) -> None:
        """Count a transaction out that never was."""
        self._flights[pair, mailbox] -= 1
        if self._flights[pair, mailbox] <= 0:
            del self._flights[pair, mailbox]

    @property
    def has_addresses(self) -> bool:
        """Whether any address is refused."""
        return bool(self._addresses)

    def refused(self, connection: str, key: str, now: datetime) -> RefusedAddress | None:
        """Return how a connection refused an address within the last day."""
        found = self._addresses.get((connection, key))
        return found if found is not None and found.until > now else None

    # -- after a transaction

    def lost(self, claim: Claim, moment: Moment) -> None:
        """Keep that a transaction was under way when the process ended: of a suspected pair it may be a refusal."""
        doubts = self._doubts((claim.tenant, claim.sender_key), moment.now)
        self._count(claim.mailbox, doubts, moment.boot)

    def ended(self, claim: Claim, connection: str, judged: Judged, moment: Moment) -> Ruling:
        """Regard how an attempt ended; its flight is counted out by ``give_back``."""
        pair = (claim.tenant, claim.sender_key)
        now = moment.now
        before = self._rows.get(pair) or SenderRow(claim.lane.pair, *pair)
        row = before
        if any(verdict.outcome is Outcome.SENT for verdict in judged.recipients):
            row = succeeded(row, now)
            self._accused.pop((pair, claim.mailbox), None)
        if not judged.effects:
            # Most attempts: nothing was refused of which more would have to be known.
            kept = self._kept(before, row, now)
            return Ruling(judged, None if kept is None else SenderChange(kept))
        strikes = {each.family: each for each in judged.effects if each.effect is Effect.STRIKE and each.family}
        forgiven = SEND_AS in strikes and forgives(row, claim.tries, now)
        for verdict in strikes.values():
            row = struck(row, verdict, now)
        families = tuple(family for family in strikes if family is not None)
        self._count(claim.mailbox, families, moment.boot)
        if holding := HOLDING.intersection(families):
            self._accused.setdefault((pair, claim.mailbox), {}).update(dict.fromkeys(holding, moment.boot))
        refusals = tuple(
            FamilyRefusal(claim.attempt, claim.mailbox, family, now, moment.boot_id, moment.boot) for family in families
        )
        addresses = tuple(_learnt(claim, connection, judged, now))
        for address in addresses:
            self._remember(address, now)
        change = SenderChange(self._kept(before, row, now), refusals, addresses)
        has_held = before.held is None and row.held is not None
        return Ruling(_forgiven(judged) if forgiven else judged, change if change != SenderChange() else None, has_held)

    def _kept(self, before: SenderRow, row: SenderRow, now: datetime) -> SenderRow | None:
        """Know a sender's new state; return it if it is worth a write."""
        if row is before:
            return None
        pair = (row.tenant, row.sender_key)
        saved = self._saved_success.get(pair)
        is_news = saved is None or abs(now - saved) >= _SUCCESS_GRAIN
        known = (before.is_proven, before.strikes, before.held)
        if (row.is_proven, row.strikes, row.held) == known and not (row.last_success_at and is_news):
            self.put(row)
            return None
        row = replace(row, revision=row.revision + 1)
        if row.last_success_at is not None:
            self._saved_success[pair] = row.last_success_at
        self.put(row)
        return row

    def _count(self, mailbox: str, families: Iterable[str], boot: float) -> None:
        for family in families:
            times = self._refusals.setdefault((mailbox, family), [])
            times[:] = [at for at in times if at + WINDOW_SECONDS > boot]
            times.append(boot)

    def _remember(self, address: RefusedAddress, now: datetime) -> None:
        if self._prune_at is None or now >= self._prune_at:
            self._prune_at = now + timedelta(hours=1)
            self._addresses = {key: each for key, each in self._addresses.items() if each.until > now}
        self._addresses[address.connection, address.key] = address


def _boot_of(refusal: FamilyRefusal, moment: Moment) -> float | None:
    """Return when a kept refusal was made, in seconds of this boot; None: it no longer counts."""
    if refusal.boot_id == moment.boot_id:
        return refusal.boot if refusal.boot + WINDOW_SECONDS > moment.boot else None
    return moment.boot if moment.now - refusal.at < _SURELY_OVER else None


def _learnt(claim: Claim, connection: str, judged: Judged, now: datetime) -> Iterable[RefusedAddress]:
    """Yield the addresses of which the server said that they do not exist; one of several it may not have named."""
    for recipient, verdict in zip(claim.recipients, judged.recipients, strict=True):
        named = verdict.scope is Scope.RECIPIENT and verdict.effect is Effect.STRIKE
        if named and verdict.family == INVALID and verdict.reply is not None:
            words = (verdict.reply, verdict.cause, verdict.cure)
            yield RefusedAddress(connection, recipient.key, claim.lane.pair, *words, now + DAY)


def _forgiven(judged: Judged) -> Judged:
    """Return a denial as something to try again."""
    return summed_up(
        replace(verdict, outcome=Outcome.DEFERRED)
        if verdict.family == SEND_AS and verdict.outcome is Outcome.REJECTED
        else verdict
        for verdict in judged.recipients
    )


def judged_again(known: Mapping[int, RefusedAddress], claim: Claim, fresh: Judged | None) -> Judged:
    """Return a claim's judgement where some recipients (by place) were refused before and left out of the envelope.

    ``fresh`` judges the others, None where there are none; the remembered have no effect beyond themselves.
    """
    others = iter(fresh.recipients if fresh is not None else ())
    verdicts = tuple(
        _remembered(known[each.no]) if each.no in known else next(others) for each in claim.recipients
    )  # fmt: skip
    if fresh is not None:
        return replace(fresh, recipients=verdicts)
    return replace(summed_up(verdicts), reply=None)


def _remembered(address: RefusedAddress) -> Verdict:
    return Verdict(
        Outcome.REJECTED, Scope.RECIPIENT, address.reply, family=INVALID, cause=address.cause, cure=address.cure
    )
