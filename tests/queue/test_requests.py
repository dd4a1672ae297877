"""Stories of changing a message by request, and of lifetimes that end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.mail.message import AttemptOutcome, Priority, Result, Work
from app.queue.rows import Expired, LaneKey
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import BUSY, REFUSED, TENANT, Desk

P, S, R, U, C, E = (
    Result.PENDING,
    Result.SENT,
    Result.REJECTED,
    Result.UNKNOWN,
    Result.CANCELED,
    Result.EXPIRED,
)
HOUR = timedelta(hours=1)


async def test_a_waiting_message_is_canceled(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    change = await desk.store.cancel(TENANT, new.id, clock.now())
    assert change is not None
    assert (change.done, change.message.work) == (True, Work.DONE)
    assert change.message == await desk.view(new)
    assert [each.result for each in change.message.recipients] == [C, C]
    assert await desk.timeline(new) == ["accepted", "canceled a@example.com", "canceled b@example.com"]
    assert await desk.store.lanes() == ()
    again = await desk.store.cancel(TENANT, new.id, clock.now())
    assert again is not None
    assert not again.done


async def test_a_cancel_before_the_mark_wins(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    change = await desk.store.cancel(TENANT, new.id, clock.now())
    assert change is not None
    assert (change.done, change.message.work) == (True, Work.DONE)
    assert not await desk.mark(claim)
    settled = await desk.settle(claim, AttemptOutcome.ABORTED, [P], None)
    assert (settled.work, settled.results) == (Work.DONE, (C,))
    assert await desk.store.open_attempts() == ()


async def test_a_cancel_behind_the_mark_loses(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    assert await desk.mark(claim)
    change = await desk.store.cancel(TENANT, new.id, clock.now())
    assert change is not None
    assert (change.done, change.message.work) == (False, Work.SENDING)
    assert (await desk.settle(claim)).results == (S,)


async def test_of_mark_and_cancel_at_the_same_time_exactly_one_wins(desk: Desk, clock: ManualClock) -> None:
    wins = set()
    for turn in range(20):
        new = await desk.accept()
        claim = await desk.claim()
        moves = [desk.mark(claim), desk.store.cancel(TENANT, new.id, clock.now())]
        if turn % 2:
            marked, change = await asyncio.gather(*moves)
        else:
            change, marked = await asyncio.gather(*reversed(moves))
        assert change is not None
        assert marked != change.done
        wins.add(marked)
        await desk.settle(claim, *((AttemptOutcome.SENT, [S]) if marked else (AttemptOutcome.ABORTED, [P])))
    assert wins == {True, False}


async def test_only_what_is_pending_is_canceled(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(claim, AttemptOutcome.PARTLY_SENT, [S, P], BUSY, next_work=Work.DEFERRED)
    change = await desk.store.cancel(TENANT, new.id, clock.now())
    assert change is not None
    assert [(each.result, each.reply) for each in change.message.recipients] == [(S, BUSY), (C, BUSY)]


@pytest.mark.parametrize("request_", ["cancel", "resolve", "reschedule", "retry"])
async def test_nobody_changes_a_message_of_another_tenant(desk: Desk, clock: ManualClock, request_: str) -> None:
    new = await desk.accept()
    now = clock.now()
    more = {"cancel": (now,), "resolve": (True, now), "reschedule": (now, now, now), "retry": (now, now)}[request_]
    assert await getattr(desk.store, request_)("hr", new.id, *more) is None
    assert await getattr(desk.store, request_)(TENANT, "msg_nobody", *more) is None
    assert await desk.results(new) == [P]


@pytest.mark.parametrize("hold", [True, False])
async def test_a_person_says_that_an_unknown_was_sent(desk: Desk, clock: ManualClock, hold: bool) -> None:
    new = await desk.accept()
    await desk.unknown(await desk.claim(), hold_unknown=hold)
    change = await desk.store.resolve(TENANT, new.id, True, clock.now())
    assert change is not None
    assert (change.done, change.due, change.message.work) == (True, False, Work.DONE)
    assert await desk.results(new) == [S]
    assert (await desk.timeline(new))[-1] == "resolved ann@example.com"


@pytest.mark.parametrize("hold", [True, False])
async def test_a_person_says_that_an_unknown_was_not_sent(desk: Desk, clock: ManualClock, hold: bool) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(claim, AttemptOutcome.UNKNOWN, [S, U], None, hold_unknown=hold)
    change = await desk.store.resolve(TENANT, new.id, False, clock.now())
    assert change is not None
    assert (change.done, change.due, change.message.work) == (True, True, Work.QUEUED)
    assert [each.wire for each in (await desk.claim()).recipients] == ["b@example.com"]


async def test_a_resolution_while_others_are_being_sent(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(claim, AttemptOutcome.UNKNOWN, [U, P], None, hold_unknown=True)
    claim = await desk.claim()
    change = await desk.store.resolve(TENANT, new.id, False, clock.now())
    assert change is not None
    assert (change.done, change.due, change.message.work) == (True, False, Work.SENDING)
    settled = await desk.send(claim)
    assert (settled.work, settled.results) == (Work.QUEUED, (P, S))


async def test_there_is_nothing_to_resolve(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    change = await desk.store.resolve(TENANT, new.id, True, clock.now())
    assert change is not None
    assert (change.done, change.reason) == (False, "nothing-to-resolve")


async def test_without_content_an_unknown_can_only_have_been_sent(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    await desk.unknown(await desk.claim())
    await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 10)
    change = await desk.store.resolve(TENANT, new.id, False, clock.now())
    assert change is not None
    assert (change.done, change.reason) == (False, "content-erased")
    change = await desk.store.resolve(TENANT, new.id, True, clock.now())
    assert change is not None
    assert change.done


async def test_a_message_is_rescheduled_with_its_date(desk: Desk, clock: ManualClock) -> None:
    now = clock.now()
    new = await desk.accept(scheduled_at=now + HOUR)
    change = await desk.store.reschedule(TENANT, new.id, now + 3 * HOUR, now + 75 * HOUR, now)
    assert change is not None
    view = change.message
    assert (change.done, change.due) == (True, True)
    assert (view.scheduled_at, view.due_at, view.expires_at) == (now + 3 * HOUR, now + 3 * HOUR, now + 75 * HOUR)
    await clock.advance(3 * 3600)
    assert (await desk.claim()).date == now + 3 * HOUR
    assert await desk.timeline(new) == ["scheduled", "scheduled"]


async def test_a_message_rescheduled_to_the_past_is_due_now_and_dated_when_it_was_accepted(
    desk: Desk, clock: ManualClock
) -> None:
    now = clock.now()
    new = await desk.accept(scheduled_at=now + HOUR)
    await clock.advance(60)
    await desk.store.reschedule(TENANT, new.id, now - HOUR, now + HOUR, clock.now())
    assert (await desk.view(new)).due_at == clock.now()
    assert (await desk.claim()).date == now


@pytest.mark.parametrize("state", ["sending", "tried", "done"])
async def test_nothing_is_rescheduled_once_an_attempt_has_begun(desk: Desk, clock: ManualClock, state: str) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    if state == "tried":
        await desk.settle(claim, AttemptOutcome.ABORTED, [P], None)
    if state == "done":
        await desk.send(claim)
    change = await desk.store.reschedule(TENANT, new.id, clock.now() + HOUR, clock.now() + 2 * HOUR, clock.now())
    assert change is not None
    assert not change.done


@pytest.mark.parametrize("end", ["rejected", "expired", "canceled"])
async def test_what_was_refused_ran_out_or_was_canceled_is_queued_again(
    desk: Desk, clock: ManualClock, end: str
) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(
        claim, AttemptOutcome.PARTLY_SENT, [S, R if end == "rejected" else P], REFUSED, next_work=Work.DEFERRED
    )
    if end == "canceled":
        await desk.store.cancel(TENANT, new.id, clock.now())
    if end == "expired":
        await clock.advance(72 * 3600)
        await desk.store.expire(clock.now(), 10)
    assert (await desk.view(new)).recipients[1].result == Result(end)
    change = await desk.store.retry(TENANT, new.id, clock.now(), clock.now() + HOUR)
    assert change is not None
    assert (change.done, change.due, change.message.work) == (True, True, Work.QUEUED)
    assert (change.message.due_at, change.message.expires_at) == (clock.now(), clock.now() + HOUR)
    claim = await desk.claim()
    assert [each.wire for each in claim.recipients] == ["b@example.com"]
    assert (await desk.send(claim)).results == (S, S)
    assert "retried b@example.com" in await desk.timeline(new)


async def test_there_is_nothing_to_retry(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    await desk.send(await desk.claim())
    change = await desk.store.retry(TENANT, new.id, clock.now(), clock.now() + HOUR)
    assert change is not None
    assert (change.done, change.reason) == (False, "nothing-to-retry")


async def test_nothing_is_retried_without_content(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    await desk.store.cancel(TENANT, new.id, clock.now())
    await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 10)
    change = await desk.store.retry(TENANT, new.id, clock.now(), clock.now() + HOUR)
    assert change is not None
    assert (change.done, change.reason) == (False, "content-erased")
    assert await desk.results(new) == [C]


async def test_lifetimes_end_in_order_and_in_bounded_batches(desk: Desk, clock: ManualClock) -> None:
    now = clock.now()
    late = await desk.accept(expires_at=now + timedelta(seconds=20))
    soon = await desk.accept("a@example.com", "b@example.com", expires_at=now + timedelta(seconds=10))
    assert await desk.store.next_expiry() == now + timedelta(seconds=10)
    assert await desk.store.expire(now + timedelta(seconds=9), 10) == ()
    lane = await desk.lane()
    assert await desk.store.expire(now + timedelta(seconds=20), 1) == (Expired(soon.id, lane, Work.DONE),)
    assert await desk.results(soon) == [E, E]
    assert await desk.timeline(soon) == ["accepted", "expired a@example.com", "expired b@example.com"]
    assert await desk.store.next_expiry() == now + timedelta(seconds=20)
    assert await desk.store.expire(now + timedelta(seconds=20), 1) == (Expired(late.id, lane, Work.DONE),)
    assert await desk.store.next_expiry() is None


async def test_what_is_being_sent_does_not_expire(desk: Desk, clock: ManualClock) -> None:
    await desk.accept(expires_at=clock.now() + timedelta(seconds=10))
    claim = await desk.claim()
    assert await desk.mark(claim)
    await clock.advance(10)
    assert await desk.store.next_expiry() is None
    assert await desk.store.expire(clock.now(), 10) == ()
    assert (await desk.settle(claim)).results == (S,)


async def test_a_held_unknown_stays_held_when_what_is_pending_beside_it_expires(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(claim, AttemptOutcome.UNKNOWN, [U, P], None, hold_unknown=True, next_work=Work.DEFERRED)
    (expired,) = await desk.store.expire(new.expires_at, 10)
    assert expired.work is Work.HELD
    assert await desk.results(new) == [U, E]


async def test_a_held_message_expires_as_well(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    await desk.settle(await desk.claim(), AttemptOutcome.DEFERRED, [P], BUSY, next_work=Work.HELD)
    (expired,) = await desk.store.expire(new.expires_at, 10)
    assert (expired.work, expired.lane) == (Work.DONE, LaneKey(1, Priority.NORMAL))
    (shown,) = (await desk.view(new)).recipients
    assert (shown.result, shown.reply) == (E, BUSY)


async def test_a_retried_message_keeps_its_appointment(desk: Desk, clock: ManualClock) -> None:
    """It goes when it was to go, and its lifetime begins there."""
    now = clock.now()
    new = await desk.accept(scheduled_at=now + HOUR)
    await desk.store.cancel(TENANT, new.id, now)
    change = await desk.store.retry(TENANT, new.id, now, now + 2 * HOUR)
    assert change is not None
    assert (change.message.due_at, change.message.expires_at) == (now + HOUR, now + 3 * HOUR)
    assert (await desk.pick()).claims == ()
    await clock.advance(HOUR.total_seconds())
    assert len((await desk.pick()).claims) == 1
