"""What the breaker decides: who is held, who goes one at a time, who waits for the mailbox, what is remembered."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from app.delivery.breaker import Breaker, Moment, judged_again
from app.delivery.standing import (
    DAY,
    FAMILIES,
    INVALID,
    SEND_AS,
    TOO_MANY,
    forgives,
    released,
    state_of,
    struck,
    succeeded,
    suspected,
)
from app.mail.message import AttemptOutcome, Priority
from app.mail.reply import Phase, Reply
from app.mail.verdict import Effect, Judged, Outcome, Scope, Verdict, judge, summed_up
from app.queue.rows import Claim, ClaimedRecipient, LaneKey
from app.queue.sender_rows import FamilyRefusal, Held, RefusedAddress, SenderRecords, SenderRow, Strikes
from tests.support.manual_clock import NOON

HOUR = timedelta(hours=1)
DENIED = judge(Reply(554, "5.2.252", "SendAsDenied; a@contoso.test not allowed to send as b@contoso.test;", Phase.DOT))
TOO_MANY_OF_THEM = judge(Reply(550, "5.5.3", "RESOLVER.ADR.RecipLimit; too many recipients", Phase.DOT))
NOBODY = judge(Reply(550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found", Phase.RCPT))
FULL = judge(Reply(554, "5.2.2", "mailbox full; STOREDRV.Submission.Exception:QuotaExceededException", Phase.DOT))
TAKEN = judge(Reply(250, "2.0.0", "OK", Phase.DOT))
BUSY = judge(Reply(451, "4.7.500", "Server busy", Phase.DOT))
UNHEARD = Verdict(Outcome.UNKNOWN, Scope.SESSION, None)

ROW = SenderRow(1, "billing", "b@contoso.test")
PROVEN = replace(ROW, is_proven=True, last_success_at=NOON - HOUR)
PAIR = ("billing", "b@contoso.test")
_numbers = count(1)


def struck_once(row: SenderRow, verdict: Verdict, ago: timedelta = HOUR) -> SenderRow:
    return struck(row, verdict, NOON - ago)


# ---------------------------------------------------------------- one sender


@pytest.mark.parametrize(
    ("row", "verdict", "is_held"),
    [
        (ROW, DENIED, False),
        (PROVEN, DENIED, False),
        (struck_once(ROW, DENIED), DENIED, True),
        (struck_once(PROVEN, DENIED), DENIED, True),
        (struck_once(ROW, DENIED, DAY), DENIED, True),
        (struck_once(ROW, DENIED, DAY + timedelta(seconds=1)), DENIED, False),
        (succeeded(struck_once(ROW, DENIED), NOON), DENIED, False),
        (struck_once(ROW, TOO_MANY_OF_THEM), TOO_MANY_OF_THEM, True),
        (struck_once(ROW, TOO_MANY_OF_THEM), DENIED, False),
        (struck_once(struck_once(ROW, NOBODY), NOBODY), NOBODY, False),
        (struck_once(ROW, DENIED, timedelta(hours=-1)), DENIED, True),
    ],
    ids=[
        "the first is none",
        "nor that of a proven pair",
        "the second holds",
        "also a proven pair",
        "a day later still",
        "then no longer",
        "a success between forgives",
        "too many recipients alike",
        "families are counted apart",
        "addresses that do not exist never hold",
        "a wall clock set back forgives nothing",
    ],
)
def test_a_pair_is_held_at_the_second_refusal_within_a_day(row: SenderRow, verdict: Verdict, is_held: bool) -> None:
    after = struck(row, verdict, NOON)
    assert (after.held is not None) == is_held
    if after.held:
        assert after.held == Held(verdict.family or "", verdict.cause or "", verdict.cure or "", NOON)


def test_who_is_held_stays_held_for_the_first_reason() -> None:
    held = struck(struck_once(ROW, DENIED), DENIED, NOON)
    assert struck(held, DENIED, NOON + HOUR).held == held.held
    assert succeeded(held, NOON).held == held.held


@pytest.mark.parametrize(
    ("row", "doubts", "state"),
    [
        (ROW, FAMILIES, "unproven"),
        (PROVEN, frozenset(), "ok"),
        (struck_once(PROVEN, DENIED), {SEND_AS}, "unproven"),
        (struck_once(PROVEN, NOBODY), {INVALID}, "slowed"),
        (succeeded(struck_once(PROVEN, NOBODY), NOON), {INVALID}, "slowed"),
        (struck_once(PROVEN, NOBODY, DAY + HOUR), frozenset(), "ok"),
        (struck_once(ROW, NOBODY), FAMILIES, "unproven"),
        (released(PROVEN), FAMILIES, "unproven"),
        (struck(struck_once(PROVEN, DENIED), DENIED, NOON), {SEND_AS}, "held"),
    ],
)
def test_a_pair_is_suspected_of_what_nothing_speaks_against(row: SenderRow, doubts: set[str], state: str) -> None:
    assert suspected(row, NOON) == doubts
    assert state_of(row, NOON) == state


@pytest.mark.parametrize(
    ("row", "tries", "is_forgiven"),
    [
        (PROVEN, 0, True),
        (PROVEN, 1, False),
        (ROW, 0, False),
        (replace(PROVEN, last_success_at=NOON - DAY - HOUR), 0, False),
        (struck_once(PROVEN, DENIED), 0, False),
        (struck_once(PROVEN, DENIED, DAY + HOUR), 0, True),
        (struck_once(PROVEN, TOO_MANY_OF_THEM), 0, True),
        (released(PROVEN), 0, False),
    ],
)
def test_a_denial_is_tried_once_more_if_the_pair_succeeded_within_a_day(
    row: SenderRow, tries: int, is_forgiven: bool
) -> None:
    assert forgives(row, tries, NOON) == is_forgiven


# ---------------------------------------------------------------- all of them


class Desk:
    """A breaker with a clock of its own, and one word for each move."""

    def __init__(self, *rows: SenderRow) -> None:
        self.breaker = Breaker()
        self.seconds = 0.0
        self.kept: list[SenderRow] = []
        for row in rows:
            self.breaker.put(row)

    @property
    def moment(self) -> Moment:
        return Moment(NOON + timedelta(seconds=self.seconds), 1000.0 + self.seconds, "boot")

    def closed(self, pair: tuple[str, str] = PAIR, mailbox: str = "noreply"):
        return self.breaker.closed(pair, mailbox, self.moment.now, self.moment.boot)

    def goes(self, pair: tuple[str, str] = PAIR, mailbox: str = "noreply") -> bool:
        if self.closed(pair, mailbox) is not None:
            return False
        self.breaker.begin(pair, mailbox)
        return True

    def ends(self, *verdicts: Verdict, pair: tuple[str, str] = PAIR, mailbox: str = "noreply", tries: int = 0):
        claim = claim_of(pair, mailbox, len(verdicts), tries)
        ruling = self.breaker.ended(claim, "contoso", summed_up(verdicts), self.moment)
        self.breaker.give_back(pair, mailbox)
        if ruling.change and ruling.change.sender:
            self.kept.append(ruling.change.sender)
        return ruling

    def sends(self, *verdicts: Verdict, **more):
        assert self.goes(more.get("pair", PAIR), more.get("mailbox", "noreply"))
        return self.ends(*verdicts, **more)


def claim_of(pair: tuple[str, str], mailbox: str, recipients: int, tries: int = 0) -> Claim:
    number = next(_numbers)
    return Claim(
        attempt=number, number=tries + 1, message=f"msg_{number}", lane=LaneKey(hash(pair) % 1000, Priority.NORMAL),
        tenant=pair[0], sender_key=pair[1], mailbox=mailbox, message_id="<1@contoso.test>", date=NOON, created_at=NOON,
        expires_at=NOON + DAY, size=10, smtputf8=False, tries=tries, unknowns=0,
        recipients=tuple(ClaimedRecipient(no, f"A{no}@x.test", f"a{no}@x.test") for no in range(recipients)),
        content=b"x\r\n",
    )  # fmt: skip


def others(number: int) -> list[tuple[str, str]]:
    return [("shop", f"s{each}@contoso.test") for each in range(number)]


def test_a_pair_that_never_succeeded_has_one_transaction_in_flight() -> None:
    desk = Desk()
    assert desk.goes()
    closed = desk.closed()
    assert closed is not None
    assert not closed.is_held
    assert desk.closed(mailbox="other") is not None
    desk.ends(TAKEN)
    assert [desk.goes() for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("verdict", [BUSY, UNHEARD, FULL])
def test_what_says_nothing_of_the_sender_neither_proves_nor_strikes(verdict: Verdict) -> None:
    desk = Desk()
    assert desk.sends(verdict).change is None
    assert desk.breaker.row(PAIR) is None
    assert [desk.goes(), desk.goes()] == [True, False]


def test_a_success_is_written_once_and_then_only_once_an_hour() -> None:
    desk = Desk()
    for _ in range(100):
        desk.sends(TAKEN)
        desk.seconds += 60
    assert [row.last_success_at for row in desk.kept] == [NOON, NOON + HOUR]
    known = desk.breaker.row(PAIR)
    assert known is not None
    assert known.last_success_at == NOON + timedelta(minutes=99)


def test_the_second_denial_holds_and_every_mailbox_is_closed_to_the_pair() -> None:
    desk = Desk()
    first, second = desk.sends(DENIED), desk.sends(DENIED)
    assert [first.has_held, second.has_held] == [False, True]
    assert [each.judged.outcome for each in (first, second)] == [AttemptOutcome.REJECTED] * 2
    for mailbox in ("noreply", "other"):
        closed = desk.closed(mailbox=mailbox)
        assert closed is not None
        assert closed.is_held
        assert DENIED.cause
        assert DENIED.cause in closed.text
    assert [row.revision for row in desk.kept] == [1, 2]


def test_what_was_under_way_when_the_pair_was_held_changes_nothing_about_it() -> None:
    desk = Desk(PROVEN)
    assert [desk.goes() for _ in range(3)] == [True] * 3
    desk.ends(DENIED)
    assert not desk.goes()
    assert desk.ends(DENIED).has_held
    desk.ends(TAKEN)
    row = desk.breaker.row(PAIR)
    assert row is not None
    assert row.held is not None
    assert not row.strikes


def test_a_first_denial_of_a_proven_pair_is_deferred_and_counts_all_the_same() -> None:
    desk = Desk(PROVEN)
    ruling = desk.sends(DENIED)
    assert ruling.judged.outcome is AttemptOutcome.DEFERRED
    assert [each.outcome for each in ruling.judged.recipients] == [Outcome.DEFERRED]
    assert ruling.judged.recipients[0].cause == DENIED.cause
    assert ruling.change is not None
    assert [each.family for each in ruling.change.refusals] == [SEND_AS]
    again = desk.sends(DENIED, tries=1)
    assert again.judged.outcome is AttemptOutcome.REJECTED
    assert again.has_held


def test_a_mailbox_has_three_refusals_in_ten_minutes_and_then_only_proven_pairs_go_on() -> None:
    desk = Desk(PROVEN)
    strangers = others(5)
    for pair in strangers[:3]:
        desk.sends(DENIED, pair=pair)
        desk.seconds += 100
    closed = desk.closed(strangers[3])
    assert closed is not None
    assert closed.until_boot == 1000.0 + 600.0
    assert desk.breaker.opens_in(1000.0 + desk.seconds) == 300.0
    assert desk.goes(strangers[3], "other")
    assert desk.goes(PAIR)
    desk.seconds = 599.9
    assert not desk.goes(strangers[4])
    desk.seconds = 600.0
    assert desk.goes(strangers[4])


def test_unproven_transactions_in_flight_are_counted_as_refusals_to_come() -> None:
    desk = Desk(PROVEN)
    strangers = others(4)
    desk.sends(DENIED, pair=strangers[0])
    assert [desk.goes(pair) for pair in strangers[1:]] == [True, True, False]
    assert desk.goes(PAIR)
    desk.ends(TAKEN, pair=strangers[1])
    assert desk.goes(strangers[3])


def test_a_success_through_one_mailbox_lets_no_other_be_refused_again_and_again() -> None:
    """The right is granted to one of two mailboxes: no refusal of the other follows another without a success there."""
    desk = Desk(PROVEN)
    refused = 0
    for _ in range(20):
        if desk.goes(mailbox="bad"):
            desk.ends(DENIED, mailbox="bad")
            refused += 1
        desk.sends(TAKEN, mailbox="good")
    assert refused == 3
    assert desk.goes(mailbox="good")
    desk.seconds = 601
    desk.ends(TAKEN, mailbox="good")
    desk.sends(TAKEN, mailbox="bad")
    assert [desk.goes(mailbox="bad") for _ in range(3)] == [True] * 3


def test_families_have_a_budget_each() -> None:
    """A pair that may send, and whose addresses are bad, waits for the family of addresses only."""
    desk = Desk(PROVEN, replace(PROVEN, pair=2, sender_key="c@contoso.test"))
    for pair in others(3):
        desk.sends(DENIED, pair=pair)
    desk.sends(NOBODY)
    assert desk.goes()
    desk.ends(NOBODY)
    desk.sends(NOBODY)
    closed = desk.closed()
    assert closed is not None
    assert INVALID in closed.text
    assert desk.goes(("billing", "c@contoso.test"))


def test_a_transaction_is_one_refusal_however_many_recipients_it_has() -> None:
    desk = Desk()
    ruling = desk.sends(NOBODY, NOBODY, NOBODY, NOBODY)
    assert ruling.change is not None
    assert len(ruling.change.refusals) == 1
    assert len(ruling.change.addresses) == 4
    row = desk.breaker.row(PAIR)
    assert row is not None
    assert row.strikes[INVALID].count == 1


def test_an_address_that_was_named_is_refused_for_a_day_by_its_connection() -> None:
    desk = Desk()
    desk.sends(NOBODY, TAKEN)
    now = desk.moment.now
    known = desk.breaker.refused("contoso", "a0@x.test", now)
    assert known is not None
    assert (known.reply, known.cause, known.cure) == (NOBODY.reply, NOBODY.cause, NOBODY.cure)
    assert desk.breaker.refused("contoso", "a1@x.test", now) is None
    assert desk.breaker.refused("fabrikam", "a0@x.test", now) is None
    assert desk.breaker.refused("contoso", "a0@x.test", now + DAY) is None
    assert desk.goes()
    assert not desk.goes()


def test_of_several_recipients_refused_at_the_dot_none_is_remembered() -> None:
    desk = Desk()
    nobody = replace(NOBODY, scope=Scope.MESSAGE)
    ruling = desk.sends(nobody, nobody)
    assert ruling.change is not None
    assert not ruling.change.addresses
    assert not desk.breaker.has_addresses


def test_a_flight_of_a_suspect_that_a_crash_cut_counts_as_a_refusal() -> None:
    desk = Desk(PROVEN)
    desk.breaker.lost(claim_of(PAIR, "noreply", 1), desk.moment)
    for pair in others(2):
        desk.breaker.lost(claim_of(pair, "noreply", 1), desk.moment)
    strangers = others(4)
    assert [desk.goes(pair) for pair in strangers[2:]] == [True, False]


def test_a_released_pair_starts_afresh_and_its_addresses_are_tried_again() -> None:
    desk = Desk()
    desk.sends(NOBODY)
    desk.sends(DENIED)
    desk.sends(DENIED)
    row = desk.breaker.row(PAIR)
    assert row is not None
    desk.breaker.put(released(row))
    desk.breaker.forget_learnt(row)
    assert not desk.breaker.has_addresses
    desk.seconds = 600
    assert not desk.sends(DENIED).has_held
    assert desk.sends(DENIED).has_held


# ---------------------------------------------------------------- after a restart


def restored(*, moment: Moment, refusals: tuple[FamilyRefusal, ...] = (), **more) -> Breaker:
    breaker = Breaker()
    breaker.restore(SenderRecords(more.get("senders", ()), refusals, more.get("addresses", ())), moment)
    return breaker


@pytest.mark.parametrize(
    ("boot_id", "boot", "ago", "now_boot", "opens_in"),
    [
        ("same", 1000.0, timedelta(seconds=100), 1100.0, 500.0),
        ("same", 1000.0, timedelta(days=-3), 1100.0, 500.0),
        ("same", 1000.0, timedelta(seconds=600), 1600.0, math.inf),
        ("other", 9000.0, timedelta(minutes=1), 50.0, 600.0),
        ("other", 9000.0, timedelta(minutes=59), 50.0, 600.0),
        ("other", 9000.0, timedelta(minutes=61), 50.0, math.inf),
        ("other", 9000.0, timedelta(days=-3), 50.0, 600.0),
    ],
    ids=[
        "the boot clock tells",
        "whatever the wall clock does",
        "its time is over",
        "another boot: as made at the start",
        "for an hour of the wall clock",
        "then surely over",
        "a wall clock set back forgives nothing",
    ],
)
def test_refusals_count_on_after_a_restart(
    boot_id: str, boot: float, ago: timedelta, now_boot: float, opens_in: float
) -> None:
    refusal = FamilyRefusal(1, "noreply", SEND_AS, NOON - ago, boot_id, boot)
    breaker = restored(moment=Moment(NOON, now_boot, "same"), refusals=(refusal,))
    assert breaker.opens_in(now_boot) == opens_in


def test_held_pairs_and_refused_addresses_survive() -> None:
    held = struck(struck_once(ROW, DENIED), DENIED, NOON)
    address = RefusedAddress("contoso", "a@x.test", 1, NOBODY.reply, None, None, NOON + timedelta(days=9))  # type: ignore[arg-type]
    breaker = restored(moment=Moment(NOON, 5.0, "b"), senders=(held,), addresses=(address,))
    closed = breaker.closed(PAIR, "noreply", NOON, 5.0)
    assert closed is not None
    assert closed.is_held
    assert breaker.refused("contoso", "a@x.test", NOON + HOUR) is not None
    assert breaker.refused("contoso", "a@x.test", NOON + DAY) is None


# ---------------------------------------------------------------- recipients that are known


def test_known_recipients_take_their_words_and_the_others_their_verdicts() -> None:
    claim = claim_of(PAIR, "noreply", 3)
    known = {1: RefusedAddress("contoso", "a1@x.test", 1, NOBODY.reply, "why", "do", NOON + DAY)}  # type: ignore[arg-type]
    fresh = summed_up([TAKEN, BUSY])
    judged = judged_again(known, claim, fresh)
    assert [each.outcome for each in judged.recipients] == [Outcome.SENT, Outcome.REJECTED, Outcome.DEFERRED]
    assert (judged.recipients[1].cause, judged.recipients[1].effect) == ("why", Effect.NONE)
    assert (judged.outcome, judged.reply) == (fresh.outcome, fresh.reply)


def test_where_all_are_known_the_attempt_has_no_reply() -> None:
    known = {0: RefusedAddress("contoso", "a0@x.test", 1, NOBODY.reply, "why", "do", NOON + DAY)}  # type: ignore[arg-type]
    judged: Judged = judged_again(known, claim_of(PAIR, "noreply", 1), None)
    assert (judged.outcome, judged.reply, judged.effects) == (AttemptOutcome.REJECTED, None, ())


def test_strikes_print_themselves() -> None:
    desk = Desk()
    desk.sends(TOO_MANY_OF_THEM)
    row = desk.breaker.row(PAIR)
    assert row is not None
    assert row.strikes == {TOO_MANY: Strikes(1, NOON)}
    assert repr(desk.breaker) == "<Breaker 1 senders, 0 held, 0 in flight, 0 addresses refused>"
