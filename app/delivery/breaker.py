"""Stops the guilty sender before Exchange blocks the mailbox for everybody.

Exchange counts a mailbox's refusals by family and answers too many with a block of unknown length for the whole
mailbox (``550 5.2.251``–``5.2.255``). So refusals are counted here first: per (tenant, From) pair, and per mailbox and
family in any ten minutes, unproven transactions in flight counted in. Decides only; ``courier`` acts, the store keeps.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.mail.verdict import Verdict

DAY = timedelta(hours=24)
FAMILY_WINDOW = timedelta(minutes=10)
FAMILY_LIMIT = 3
_STRIKES_TO_HOLD = 2
# Families in which a pair is held; invalid recipients slow it and are remembered one by one.
HOLDING = frozenset({"send-as", "too-many-recipients"})
INVALID = "invalid-recipient"


@dataclass(frozen=True, slots=True)
class PairRow:
    """What is known of a (tenant, From) pair. ``strikes`` counts refusals by family since the last success."""

    pair: int
    tenant: str
    sender_key: str
    succeeded_at: datetime | None = None
    strikes: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)
    held_since: datetime | None = None
    held_reason: str | None = None
    cause: str | None = None
    cure: str | None = None
    slowed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """One refusal that Exchange counts against a mailbox."""

    mailbox: str
    family: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Block:
    """Why a pair's mail does not go now: the ``waiting_for`` code, a sentence, and until when if that is known."""

    code: str
    text: str
    until: datetime | None = None


def after_refusal(row: PairRow, verdict: Verdict, now: datetime) -> PairRow:
    """Return what is known of a pair after a refusal of one of the families."""
    family = verdict.family or ""
    count, last = row.strikes.get(family, (0, now))
    count = 1 if now - last > DAY else count + 1
    row = replace(row, strikes={**row.strikes, family: (count, now)})
    if family == INVALID:
        return replace(row, slowed_until=now + DAY)
    if family in HOLDING and count >= _STRIKES_TO_HOLD and row.held_since is None:
        return replace(row, held_since=now, held_reason=family, cause=verdict.cause, cure=verdict.cure)
    return row


def after_success(row: PairRow, now: datetime) -> PairRow:
    """Return what is known of a pair after a 250: its refusals no longer count."""
    return replace(row, succeeded_at=now, strikes={})


def may_retry_denial(row: PairRow, now: datetime) -> bool:
    """Whether a denial is tried once more: only a pair that succeeded within a day, at the first strike."""
    return row.succeeded_at is not None and now - row.succeeded_at <= DAY and not row.strikes.get("send-as")


class Breaker:
    """The breaker of one process: every pair that was ever seen, and the refusals of each mailbox."""

    def __init__(self, pairs: Iterable[PairRow] = (), refusals: Iterable[RefusalRow] = ()) -> None:
        self._pairs: dict[int, PairRow] = {row.pair: row for row in pairs}
        self._flights: Counter[int] = Counter()  # transactions under way by pair
        self._unproven: Counter[str] = Counter()  # unproven transactions under way by mailbox
        self._refusals: dict[tuple[str, str], deque[datetime]] = {}
        for row in sorted(refusals, key=lambda each: each.at):
            self._refusals.setdefault((row.mailbox, row.family), deque()).append(row.at)

    def row(self, pair: int, tenant: str, sender_key: str) -> PairRow:
        """Return what is known of a pair."""
        return self._pairs.get(pair) or PairRow(pair, tenant, sender_key)

    def rows(self) -> list[PairRow]:
        """Return every pair of which something is known."""
        return list(self._pairs.values())

    def keep(self, row: PairRow) -> None:
        """Keep what is known of a pair from now on."""
        self._pairs[row.pair] = row

    def is_proven(self, row: PairRow, now: datetime) -> bool:
        """Whether a pair's transactions are beyond suspicion: it has succeeded and is not slowed."""
        return row.succeeded_at is not None and not (row.slowed_until and row.slowed_until > now)

    def block(self, row: PairRow, mailbox: str, now: datetime) -> Block | None:
        """Return why a message of the pair must not go through the mailbox now, or None."""
        if row.held_since is not None:
            return Block("sender-held", f"the sender is held: {row.cause or row.held_reason}")
        if self.is_proven(row, now):
            return None
        if self._flights[row.pair]:
            return Block("sender-unproven", "one message of this sender is under way, to learn whether it may send")
        for family in {key[1] for key in self._refusals if key[0] == mailbox} or {""}:
            recent = self._recent(mailbox, family, now)
            if len(recent) + self._unproven[mailbox] >= FAMILY_LIMIT:
                until = recent[0] + FAMILY_WINDOW if recent else None
                text = "the mailbox has had its refusals for these ten minutes; only proven senders go on"
                return Block("sender-unproven", text, until)
        return None

    def begin(self, row: PairRow, mailbox: str, now: datetime) -> bool:
        """Count a transaction in; whether it was an unproven one (hand that to ``end``)."""
        unproven = not self.is_proven(row, now)
        self._flights[row.pair] += 1
        self._unproven[mailbox] += unproven
        return unproven

    def end(self, pair: int, mailbox: str, *, unproven: bool) -> None:
        """Count a transaction out."""
        self._flights[pair] -= 1
        self._unproven[mailbox] -= unproven

    def refused(self, refusal: RefusalRow) -> None:
        """Count a refusal against a mailbox; one transaction is one, however many recipients it has."""
        self._refusals.setdefault((refusal.mailbox, refusal.family), deque()).append(refusal.at)

    def _recent(self, mailbox: str, family: str, now: datetime) -> deque[datetime]:
        recent = self._refusals.get((mailbox, family), deque())
        while recent and recent[0] + FAMILY_WINDOW <= now:
            recent.popleft()
        return recent
