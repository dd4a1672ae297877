"""Stories of settling: how attempts end, what a message does next, and replies that come late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.mail.message import AttemptOutcome, Result, Work
from app.queue.contract import StoreError
from app.queue.rows import RecipientOutcome, Settlement
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import BUSY, REFUSED, SENT, TENANT, Desk

P, S, R, U = Result.PENDING, Result.SENT, Result.REJECTED, Result.UNKNOWN


async def test_a_sent_message_is_done_with_the_servers_words(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    settled = await desk.send(await desk.claim())
    assert (settled.work, settled.due_at, settled.results) == (Work.DONE, None, (S, S))
    view = await desk.view(new)
    assert (view.work, view.tries) == (Work.DONE, 1)
    assert [(each.result, each.reply, each.at) for each in view.recipients] == [(S, SENT, clock.now())] * 2
    assert [(each.outcome, each.reply, each.ended_at) for each in view.attempts] == [
        (AttemptOutcome.SENT, SENT, clock.now())
    ]
    assert await desk.timeline(new) == ["accepted", "attempted", "sent a@example.com", "sent b@example.com"]


async def test_a_deferred_recipient_is_tried_again_alone(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com", "c@example.com")
    claim = await desk.claim()
    assert await desk.mark(claim)
    due = clock.now() + timedelta(seconds=30)
    settled = await desk.settle(claim, AttemptOutcome.PARTLY_SENT, [S, P, R], BUSY, next_work=Work.DEFERRED, due_at=due)
    assert (settled.work, settled.due_at, settled.results) == (Work.DEFERRED, due, (S, P, R))
    events = await desk.store.events(TENANT, new.id)
    assert events is not None
    assert [(each.type, each.recipient, each.next_attempt_at) for each in events[2:]] == [
        ("sent", "a@example.com", None),
        ("deferred", "b@example.com", due),
        ("rejected", "c@example.com", None),
    ]
    assert (await desk.pick()).claims == ()
    await clock.advance(30)
    again = await desk.claim()
    assert [each.wire for each in again.recipients] == ["b@example.com"]
    assert (again.number, again.tries) == (2, 1)
    assert (await desk.send(again)).results == (S, S, R)


async def test_an_aborted_attempt_leaves_the_words_of_the_one_before(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    await desk.deferred(await desk.claim(), 0)
    settled = await desk.settle(await desk.claim(), AttemptOutcome.ABORTED, [P], None)
    assert (settled.work, settled.due_at) == (Work.QUEUED, clock.now())
    view = await desk.view(new)
    assert (view.tries, view.recipients[0].reply) == (1, BUSY)
    assert await desk.timeline(new) == ["accepted", "attempted", "deferred ann@example.com"]


async def test_a_kept_message_goes_back_to_the_queue_with_cause_and_cure(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    words = RecipientOutcome(0, P, BUSY, "The mailbox is parked.", "Resume it.")
    settlement = Settlement(
        claim.attempt, claim.message, clock.now(), clock.boot(), AttemptOutcome.ABORTED, False, BUSY, 0, (words,)
    )
    assert (await desk.store.settle(settlement)).work is Work.QUEUED
    (shown,) = (await desk.view(new)).recipients
    assert (shown.result, shown.reply, shown.cause, shown.cure) == (P, BUSY, "The mailbox is parked.", "Resume it.")


async def test_a_settlement_may_hold_a_message(desk: Desk) -> None:
    new = await desk.accept()
    settled = await desk.settle(await desk.claim(), AttemptOutcome.DEFERRED, [P], BUSY, next_work=Work.HELD)
    assert (settled.work, settled.due_at) == (Work.HELD, None)
    assert (await desk.timeline(new))[-1] == "held"
    assert await desk.store.lanes() == ()


async def test_a_first_unknown_is_tried_again_and_a_second_ends_it(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    assert await desk.mark(claim)
    due = clock.now() + timedelta(seconds=30)
    settled = await desk.settle(
        claim, AttemptOutcome.UNKNOWN, [P], None, next_work=Work.DEFERRED, due_at=due, resend_unknown=True
    )
    assert settled.work is Work.DEFERRED
    await clock.advance(30)
    again = await desk.claim()
    assert (again.tries, again.unknowns, again.date, again.message_id) == (1, 1, claim.date, claim.message_id)
    settled = await desk.unknown(again)
    assert (settled.work, settled.results) == (Work.DONE, (U,))
    assert (await desk.timeline(new))[-1] == "unknown ann@example.com"


async def test_a_held_unknown_waits_for_a_person(desk: Desk) -> None:
    new = await desk.accept()
    settled = await desk.unknown(await desk.claim(), hold_unknown=True)
    assert (settled.work, settled.results) == (Work.HELD, (U,))
    assert (await desk.timeline(new))[-2:] == ["unknown ann@example.com", "held"]


async def test_an_unknown_under_hold_waits_even_where_others_are_tried_again_first(desk: Desk) -> None:
    await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    assert await desk.mark(claim)
    settled = await desk.settle(claim, AttemptOutcome.UNKNOWN, [U, P], None, hold_unknown=True)
    assert settled.work is Work.QUEUED
    settled = await desk.settle(await desk.claim(), AttemptOutcome.SENT, [S])
    assert (settled.work, settled.results) == (Work.HELD, (U, S))


async def test_a_settlement_for_no_attempt_is_refused(desk: Desk, clock: ManualClock) -> None:
    with pytest.raises(StoreError, match="no attempt 77"):
        await desk.store.settle(
            Settlement(77, "msg_x", clock.now(), clock.boot(), AttemptOutcome.SENT, True, SENT, 1, ())
        )


async def test_an_attempt_never_ends_before_it_began(desk: Desk, clock: ManualClock) -> None:
    """Whatever the wall clock does meanwhile."""
    new = await desk.accept()
    claim = await desk.claim()
    clock.jump_wall(-3600)
    await desk.settle(claim)
    (attempt,) = (await desk.view(new)).attempts
    assert attempt.ended_at == attempt.started_at


# -- late truth


async def test_a_late_reply_corrects_an_unknown(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    await desk.unknown(claim)
    settled = await desk.settle(claim)
    assert (settled.work, settled.results) == (Work.DONE, (S,))
    view = await desk.view(new)
    assert (view.tries, view.attempts[0].outcome, view.attempts[0].reply) == (1, AttemptOutcome.SENT, SENT)


async def test_a_late_reply_releases_a_held_unknown(desk: Desk) -> None:
    await desk.accept()
    claim = await desk.claim()
    await desk.unknown(claim, hold_unknown=True)
    assert (await desk.settle(claim)).work is Work.DONE


async def test_a_late_temporary_refusal_queues_an_unknown_again(desk: Desk, clock: ManualClock) -> None:
    """It is proven that the server did not take it."""
    await desk.accept()
    claim = await desk.claim()
    await desk.unknown(claim)
    settled = await desk.settle(claim, AttemptOutcome.DEFERRED, [P], BUSY, next_work=Work.DEFERRED)
    assert (settled.work, settled.results) == (Work.QUEUED, (P,))
    assert (await desk.claim()).message == claim.message


async def test_a_late_temporary_refusal_changes_nothing_once_the_content_is_gone(
    desk: Desk, clock: ManualClock
) -> None:
    await desk.accept()
    claim = await desk.claim()
    await desk.unknown(claim)
    await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 10)
    settled = await desk.settle(claim, AttemptOutcome.DEFERRED, [P], BUSY, next_work=Work.DEFERRED)
    assert (settled.work, settled.results) == (Work.DONE, (U,))


async def test_a_late_reply_ends_a_message_that_waits_for_its_second_try(desk: Desk) -> None:
    await desk.accept()
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(claim, AttemptOutcome.UNKNOWN, [P], None, next_work=Work.DEFERRED, resend_unknown=True)
    settled = await desk.settle(claim)
    assert (settled.work, settled.due_at, settled.results) == (Work.DONE, None, (S,))
    assert await desk.store.lanes() == ()


@pytest.mark.parametrize("is_marked", [True, False])
async def test_a_late_reply_counts_until_a_later_attempt_has_its_mark(desk: Desk, is_marked: bool) -> None:
    new = await desk.accept()
    first = await desk.claim()
    await desk.mark(first)
    await desk.settle(first, AttemptOutcome.UNKNOWN, [P], None, resend_unknown=True)
    second = await desk.claim()
    if is_marked:
        assert await desk.mark(second)
    settled = await desk.settle(first)
    assert settled.work is Work.SENDING
    assert settled.results == ((P,) if is_marked else (S,))
    assert (await desk.view(new)).attempts[0].reply == SENT
    end = await desk.settle(second, AttemptOutcome.REJECTED, [R], REFUSED)
    assert (end.work, end.results) == (Work.DONE, (R,) if is_marked else (S,))


async def test_a_settlement_is_taken_once(desk: Desk) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    await desk.send(claim)
    again = await desk.settle(claim, AttemptOutcome.REJECTED, [R], REFUSED)
    assert (again.work, again.results) == (Work.DONE, (S,))
    assert (await desk.view(new)).attempts[0].outcome is AttemptOutcome.SENT
    assert len(await desk.timeline(new)) == 3
