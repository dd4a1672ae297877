"""Stories of sending: lanes, claims, the mark, and what a new start finds."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.mail.message import AttemptOutcome, Priority, Result, Work
from app.queue.rows import Claim, LaneKey, Picked
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import BUSY, REFUSED, SENDER, TENANT, Desk, letter, recipient

P, S, R, U = Result.PENDING, Result.SENT, Result.REJECTED, Result.UNKNOWN


async def test_lanes_tell_what_waits_where(desk: Desk, clock: ManualClock) -> None:
    now = clock.now()
    await desk.accept(due_at=now + timedelta(seconds=9))
    await desk.accept(due_at=now + timedelta(seconds=5))
    await desk.accept(priority=Priority.BULK)
    await desk.accept(tenant="hr", sender_key="hr@contoso.com")
    await desk.send(await desk.claim(await desk.lane("hr@contoso.com")))
    states = await desk.store.lanes()
    assert [(each.tenant, each.sender_key, each.key.priority, each.waiting, each.next_due) for each in states] == [
        (TENANT, SENDER, Priority.NORMAL, 2, now + timedelta(seconds=5)),
        (TENANT, SENDER, Priority.BULK, 1, now),
    ]


async def test_one_from_of_two_tenants_makes_two_lanes(desk: Desk) -> None:
    await desk.accept(tenant="hr")
    await desk.accept(tenant="it")
    assert len({each.key for each in await desk.store.lanes()}) == 2


async def test_a_claim_carries_what_an_attempt_needs(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept("a@example.com", "b@example.com", smtputf8=True, size=77, content=[b"hello"])
    lane = await desk.lane()
    claim = await desk.claim()
    assert claim == Claim(
        attempt=claim.attempt,
        number=1,
        message=new.id,
        lane=lane,
        tenant=TENANT,
        sender_key=SENDER,
        mailbox="noreply",
        message_id=new.message_id,
        date=new.date,
        created_at=new.created_at,
        expires_at=new.expires_at,
        size=77,
        smtputf8=True,
        tries=0,
        unknowns=0,
        recipients=claim.recipients,
        content=b"hello",
    )
    assert [(each.no, each.wire, each.key) for each in claim.recipients] == [
        (0, "a@example.com", "a@example.com"),
        (1, "b@example.com", "b@example.com"),
    ]
    view = await desk.view(new)
    assert (view.work, view.due_at) == (Work.SENDING, None)
    assert [(each.number, each.outcome, each.ended_at) for each in view.attempts] == [(1, None, None)]


@pytest.mark.parametrize(
    ("content", "size", "is_inline"),
    [
        ([b"x" * 65_536], 65_600, True),
        ([b"x" * 65_537], 65_600, False),
        ([b"x", b"y"], 2, False),
        ([b"x" * 200_000], 200_000, False),
    ],
)
async def test_small_content_comes_with_the_claim_and_large_content_is_streamed(
    desk: Desk, content: list[bytes], size: int, is_inline: bool
) -> None:
    new = await desk.accept(content=content, size=size)
    claim = await desk.claim()
    assert claim.content == (content[0] if is_inline else None)
    assert [chunk async for chunk in desk.store.content(new.id)] == content


async def test_the_oldest_due_goes_first_and_nothing_before_its_time(desk: Desk, clock: ManualClock) -> None:
    now = clock.now()
    third = await desk.accept(due_at=now + timedelta(seconds=20))
    first = await desk.accept(due_at=now + timedelta(seconds=5))
    second = await desk.accept(due_at=now + timedelta(seconds=5))
    assert await desk.pick() == Picked((), now + timedelta(seconds=5))
    await clock.advance(5)
    picked = await desk.pick(count=10)
    assert [claim.message for claim in picked.claims] == [first.id, second.id]
    assert picked.next_due == now + timedelta(seconds=20)
    await clock.advance(15)
    picked = await desk.pick(count=10)
    assert [claim.message for claim in picked.claims] == [third.id]
    assert picked.next_due is None


async def test_what_does_not_fit_a_mailbox_is_passed_over(desk: Desk) -> None:
    large = await desk.accept(size=1000)
    many = await desk.accept("a@example.com", "b@example.com")
    small = await desk.accept()
    picked = await desk.pick(count=10, max_size=999, max_recipients=1)
    assert [claim.message for claim in picked.claims] == [small.id]
    assert picked.next_due == desk.clock.now()
    assert [claim.message for claim in (await desk.pick(count=10)).claims] == [large.id, many.id]


async def test_only_pending_recipients_are_counted_against_a_mailboxs_limit(desk: Desk) -> None:
    await desk.accept(recipients=(recipient("a@example.com", S), recipient("b@example.com")))
    assert len((await desk.pick(max_recipients=1)).claims) == 1


async def test_concurrent_picks_never_claim_a_message_twice(desk: Desk) -> None:
    for _ in range(30):
        await desk.accept()
    lane = await desk.lane()
    picked = await asyncio.gather(*(desk.pick(lane, count=2) for _ in range(20)))
    claimed = [claim.message for each in picked for claim in each.claims]
    assert len(claimed) == len(set(claimed)) == 30


async def test_what_is_past_its_lifetime_is_not_picked(desk: Desk, clock: ManualClock) -> None:
    await desk.accept(expires_at=clock.now() + timedelta(seconds=10))
    await clock.advance(10)
    assert await desk.pick() == Picked((), None)


async def test_an_empty_lane_says_so(desk: Desk) -> None:
    assert await desk.pick(LaneKey(99, Priority.URGENT)) == Picked((), None)


# -- the mark


async def test_the_mark_is_given_once(desk: Desk) -> None:
    await desk.accept()
    claim = await desk.claim()
    assert await desk.mark(claim)
    assert not await desk.mark(claim)


async def test_no_mark_for_an_attempt_that_has_ended(desk: Desk) -> None:
    await desk.accept()
    claim = await desk.claim()
    await desk.settle(claim, AttemptOutcome.ABORTED, [P], None)
    assert not await desk.mark(claim)


async def test_no_mark_past_the_lifetime(desk: Desk, clock: ManualClock) -> None:
    await desk.accept(expires_at=clock.now() + timedelta(seconds=10))
    claim = await desk.claim()
    await clock.advance(10)
    assert not await desk.mark(claim)


async def test_no_mark_for_an_attempt_that_lost_its_message_to_another(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    old = await desk.claim()
    await desk.store.cancel(TENANT, new.id, clock.now())
    await desk.store.retry(TENANT, new.id, clock.now(), clock.now() + timedelta(hours=1))
    claim = await desk.claim()
    assert not await desk.mark(old)
    assert await desk.mark(claim)


async def test_no_mark_for_an_attempt_that_never_was(desk: Desk) -> None:
    assert not await desk.store.mark(4711, desk.clock.now())


# -- recovery and ledger


async def test_open_attempts_are_found_at_start(open_desk, clock: ManualClock) -> None:
    desk = await open_desk()
    for _ in range(3):
        await desk.accept("a@example.com", "b@example.com")
    done, marked, unmarked = [await desk.claim() for _ in range(3)]
    await desk.send(done)
    assert await desk.mark(marked)
    await desk.store.close()
    desk = await open_desk()
    found = await desk.store.open_attempts()
    assert [(each.claim.attempt, each.is_marked) for each in found] == [
        (marked.attempt, True),
        (unmarked.attempt, False),
    ]
    assert found[0].claim.recipients == marked.recipients
    assert found[0].claim.content is None
    settled = await desk.settle(found[1].claim, AttemptOutcome.ABORTED, [P, P], None)
    assert settled.work is Work.QUEUED
    settled = await desk.settle(found[0].claim, AttemptOutcome.UNKNOWN, [U, U], None)
    assert settled.work is Work.DONE
    assert await desk.store.open_attempts() == ()


async def test_an_open_attempt_names_only_the_recipients_it_carried(desk: Desk, clock: ManualClock) -> None:
    """One that was rejected before and asked to be retried while the attempt ran was not in its envelope."""
    new = await desk.accept("a@example.com", "b@example.com")
    claim = await desk.claim()
    await desk.mark(claim)
    await desk.settle(claim, AttemptOutcome.DEFERRED, [R, P], BUSY)
    await desk.claim()
    await desk.store.retry(TENANT, new.id, clock.now(), clock.now() + timedelta(hours=1))
    (found,) = await desk.store.open_attempts()
    assert [each.wire for each in found.claim.recipients] == ["b@example.com"]


async def test_the_ledger_is_read_from_the_attempts(desk: Desk, clock: ManualClock) -> None:
    for _ in range(3):
        await desk.accept("a@example.com", "b@example.com")
    old, recent, _running = [await desk.claim() for _ in range(3)]
    await desk.send(old)
    await clock.advance(100)
    await desk.settle(recent, AttemptOutcome.REJECTED, [R, R], REFUSED, charged=0)
    rows = await desk.store.ledger_rows(clock.now() - timedelta(seconds=60))
    assert [(row.mailbox, row.boot_id, row.ended_at, row.ended_boot, row.charged) for row in rows] == [
        ("noreply", clock.boot_id, clock.now(), clock.boot(), 0),
        ("noreply", clock.boot_id, None, None, 0),
    ]
    assert {row.started_boot for row in rows} == {clock.boot() - 100}
    assert [row.charged for row in await desk.store.ledger_rows(clock.now() - timedelta(days=1))] == [2, 0, 0]


async def test_content_is_read_one_chunk_at_a_time(desk: Desk) -> None:
    chunks = [bytes([no]) * 1000 for no in range(50)]
    new = letter(desk.clock, content=chunks, size=50_000)
    await desk.store.accept(new)
    assert [chunk async for chunk in desk.store.content(new.id)] == chunks
    assert [chunk async for chunk in desk.store.content("msg_nobody")] == []
