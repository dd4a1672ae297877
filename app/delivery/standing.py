"""The standing of one sender, a (tenant, From) pair: what its successes and refusals mean for its next message.

A pair is *suspected* of a family as long as nothing speaks for it: of all of them until the next hop has taken a
message of it, and of one for a day after a refusal, or until a message is taken. Pure; ``breaker`` adds what mailboxes
have to do with it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from app.mail.verdict import Verdict
from app.queue.sender_rows import Held, SenderRow, Strikes

SEND_AS: Final = "send-as"
TOO_MANY: Final = "too-many-recipients"
INVALID: Final = "invalid-recipient"
FAMILIES: Final = frozenset({SEND_AS, TOO_MANY, INVALID})
# Families that hold a pair. An address that does not exist is no fault of the pair's right to send.
HOLDING: Final = frozenset({SEND_AS, TOO_MANY})

DAY: Final = timedelta(hours=24)
STRIKES_TO_HOLD: Final = 2


def suspected(row: SenderRow, now: datetime) -> frozenset[str]:
    """Return the families of which a sender's next transaction may well be refused."""
    if not row.is_proven:
        return FAMILIES
    return frozenset(family for family, strikes in row.strikes.items() if now - strikes.last_at <= DAY)


def succeeded(row: SenderRow, now: datetime) -> SenderRow:
    """Return a sender after a 250: it may send. That other addresses do not exist, a success does not disprove."""
    strikes = row.strikes
    if strikes:
        strikes = {family: each for family, each in strikes.items() if family not in HOLDING}
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
