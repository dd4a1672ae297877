"""Stops the guilty sender before Exchange blocks the mailbox for everybody (``550 5.2.251``-``5.2.255``).

Exchange counts a mailbox's refusals by family and answers too many with a block of unknown length. So they are counted
here first: by (tenant, From) pair, by mailbox and family, and by address. Decides only, from what it was told, with
time as an argument; ``senders`` acts on it and the store keeps it.

A pair is *suspected* of a family as long as nothing speaks for it: of all of them until the next hop has taken a
message of it, and of one for a day after a refusal, or until a message is taken. A suspected pair has one transaction
in flight, and waits while the mailbox has no room for another refusal of that family.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from app.mail.message import AttemptOutcome
from app.mail.verdict import Effect, Judged, Outcome, Scope, Verdict, summed_up
from app.queue.rows import Claim
from app.queue.sender_rows import (
    FamilyRefusal,
    Held,
    RefusedAddress,
    SenderChange,
    SenderRecords,
    SenderRow,
    Strikes,
)

SEND_AS: Final = "send-as"
TOO_MANY: Final = "too-many-recipients"
INVALID: Final = "invalid-recipient"
FAMILIES: Final = frozenset({SEND_AS, TOO_MANY, INVALID})
# Families that hold a pair. An address that does not exist is no fault of the pair's right to send.
HOLDING: Final = frozenset({SEND_AS, TOO_MANY})

DAY: Final = timedelta(hours=24)
STRIKES_TO_HOLD: Final = 2
WINDOW_SECONDS: Final = 600.0
WINDOW_REFUSALS: Final = 3
# Refusals noted under another boot count as made at the start, unless the wall clock puts them so far back.
_SURELY_OVER: Final = timedelta(hours=1)
# A newer success is worth a write only when the one on disk is older than this.
_SUCCESS_GRAIN: Final = timedelta(hours=1)

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


# ---------------------------------------------------------------- one sender


def suspected(row: SenderRow, now: datetime) -> frozenset[str]:
    """Return the families of which a sender's next transaction may well be refused."""
    if not row.is_proven:
        return FAMILIES
    return frozenset(family for family, strikes in row.strikes.items() if now - strikes.last_at <= DAY)


def succeeded(row: SenderRow, now: datetime) -> SenderRow:
    """Return a sender after a 250: it may send. That other addresses do not exist, a success does not disprove."""
    strikes = {family: each for family, each in row.strikes.items() if family not in HOLDING}
    return replace(row, is_proven=True, last_success_at=now, strikes=strikes)


def struck(row: SenderRow, verdict: Verdict, now: datetime) -> SenderRow:
    """Return a sender after a refusal of a family; the second of some within a day without a success holds it."""
    family = verdict.family or ""
    before = row.strikes.get(family)
    count = before.count + 1 if before is not None and now - before.last_at <= DAY else 1
    row = replace(row, strikes={**row.strikes, family: Strikes(count, now)})
    if row.held is None and family in HOLDING and count >= STRIKES_TO_HOLD:
        return replace(row, held=Held(family, verdict.cause or "", verdict.cure or "", now))
    return row


def released(row: SenderRow) -> SenderRow:
    """Return a sender that a person has released: it starts afresh and must prove itself again."""
    return replace(row, revision=row.revision + 1, is_proven=False, strikes={}, held=None)


def forgives(row: SenderRow, tries: int, now: datetime) -> bool:
    """Whether a denial is tried once more: the first one of a pair that has succeeded within a day.

    Exchange was seen to deny at random and to take the same message seconds later. ``tries`` are those of the message
    before: it gets this second chance once.
    """
    proven = row.is_proven and row.last_success_at is not None and now - row.last_success_at <= DAY
    before = row.strikes.get(SEND_AS)
    return proven and not tries and (before is None or now - before.last_at > DAY)


def state_of(row: SenderRow, now: datetime) -> str:
    """Return the word for operators: held, slowed, unproven or ok."""
    if row.held is not None:
        return "held"
    doubts = suspected(row, now)
    if row.is_proven and doubts == {INVALID}:
        return "slowed"
    return "unproven" if doubts else "ok"


# ---------------------------------------------------------------- all of them


class Breaker:
    """The senders, mailboxes and addresses of one process."""

    def __init__(self) -> None:
        self._rows: dict[Pair, SenderRow] = {}
        self._saved_success: dict[Pair, datetime] = {}
        self._flights: Counter[tuple[Pair, str]] = Counter()
        self._refusals: dict[tuple[str, str], list[float]] = {}
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

    def forget_learnt(self, pair: int) -> None:
        """Forget the addresses that a sender learnt to be refused."""
        self._addresses = {key: each for key, each in self._addresses.items() if each.pair != pair}

    # -- before a transaction

    def closed(self, pair: Pair, mailbox: str, now: datetime, boot: float) -> Closed | None:
        """Return why no transaction of a pair may begin through a mailbox now."""
        row = self._rows.get(pair)
        if row is not None and row.held is not None:
            return Closed(True, f"the sender is held: {row.held.cause or row.held.reason}")
        doubts = FAMILIES if row is None else suspected(row, now) if row.strikes or not row.is_proven else frozenset()
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
        return FAMILIES if row is None else suspected(row, now)

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

    def refused(self, connection: str, key: str, now: datetime) -> RefusedAddress | None:
        """Return how a connection refused an address within the last day."""
        found = self._addresses.get((connection, key))
        return found if found is not None and found.until > now else None

    # -- after a transaction

    def lost(self, claim: Claim, moment: Moment) -> None:
        """Keep that nobody knows how a transaction ended: of a suspected pair it may have been a refusal."""
        doubts = self._doubts((claim.tenant, claim.sender_key), moment.now)
        self._count(claim.mailbox, doubts, moment.boot)

    def ended(self, claim: Claim, connection: str, judged: Judged, moment: Moment) -> Ruling:
        """Regard how an attempt ended; its flight is counted out by ``give_back``."""
        pair = (claim.tenant, claim.sender_key)
        now = moment.now
        before = self._rows.get(pair) or SenderRow(claim.lane.pair, *pair)
        if judged.outcome is AttemptOutcome.UNKNOWN:
            self.lost(claim, moment)
        row = before
        if any(verdict.outcome is Outcome.SENT for verdict in judged.recipients):
            row = succeeded(row, now)
        strikes = {each.family: each for each in judged.effects if each.effect is Effect.STRIKE and each.family}
        forgiven = SEND_AS in strikes and forgives(row, claim.tries, now)
        for verdict in strikes.values():
            row = struck(row, verdict, now)
        families = tuple(family for family in strikes if family is not None)
        self._count(claim.mailbox, families, moment.boot)
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
        if replace(row, last_success_at=before.last_success_at) == before and not (row.last_success_at and is_news):
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
