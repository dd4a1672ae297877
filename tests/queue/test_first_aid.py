"""What operators do to the queue: hold, release, cancel; what is found by which filter; pauses and the audit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.mail.message import AttemptOutcome, Priority, Result, Work
from app.queue import selecting
from app.queue.engine import open_file
from app.queue.first_aid import Deed, Filter, Moved, Tally
from app.queue.rows import Claim, NewMessage
from app.queue.selecting import Place
from app.queue.sqlite_first_aid import STEP_MESSAGES, STEP_RECIPIENTS, steps_of
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import BUSY, SENDER, Desk, letter

WHO = "4Tn2kQ9xWb7d"
ALL = Filter(tenant="billing")
HOUR = timedelta(hours=1)
Open = Callable[..., Awaitable[Desk]]


class Aid:
    """An operator at a store, and what delivery was told."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.store = desk.store.first_aid
        self.told: list[Moved] = []

    async def do(self, deed: Deed, asked: Filter = ALL) -> tuple[int, int]:
        """Do it now; matched and changed."""
        tally = await self.store.change(deed, asked, WHO, self.desk.clock.now(), self.told.extend)
        return tally.matched, tally.changed

    async def found(self, **asked: Any) -> list[str]:
        """The ids of the messages that a filter finds, newest first."""
        page = await self.store.queue(Filter(**asked), self.desk.clock.now(), 100, None, None)
        return [each.id for each in page.messages]

    async def audited(self) -> list[tuple[str, str, str | None]]:
        """The rows of the audit, newest first."""
        page = await self.store.audit(100, None, None)
        return [(row.action, row.target, row.detail) for row in page.rows]


@pytest.fixture
def aid(desk: Desk) -> Aid:
    return Aid(desk)


# ---------------------------------------------------------------- hold and release


async def test_a_held_message_goes_to_nobody_until_it_is_released(desk: Desk, aid: Aid) -> None:
    """It leaves its lane, and comes back with the due time it had."""
    new = await desk.accept()
    lane = await desk.lane()
    assert await aid.do(Deed.HOLD) == (1, 1)
    view = await desk.view(new)
    assert (view.work, view.due_at) == (Work.HELD, None)
    assert (await desk.pick(lane)).claims == ()
    await desk.clock.advance(60)
    assert await aid.do(Deed.RELEASE) == (1, 1)
    view = await desk.view(new)
    assert (view.work, view.due_at) == (Work.QUEUED, new.due_at)
    assert [(each.left, each.due_at, each.lane) for each in aid.told] == [(True, None, lane), (False, new.due_at, lane)]
    assert aid.told[1].sender_key == SENDER
    await desk.send(await desk.claim())
    assert await desk.timeline(new) == ["accepted", "held", "released", "attempted", "sent ann@example.com"]


async def test_a_deferred_message_is_deferred_again_after_its_release(desk: Desk, aid: Aid) -> None:
    """The wait that a server asked for is not lost by a hold."""
    new = await desk.accept()
    await desk.deferred(await desk.claim(), 3600)
    due = (await desk.view(new)).due_at
    assert await aid.do(Deed.HOLD, Filter(status="deferred")) == (1, 1)
    assert await aid.do(Deed.RELEASE, Filter(status="held")) == (1, 1)
    view = await desk.view(new)
    assert (view.work, view.due_at) == (Work.DEFERRED, due)


async def test_a_scheduled_message_keeps_its_time_through_a_hold(desk: Desk, aid: Aid) -> None:
    """Held, it shows itself as held; released, as scheduled."""
    at = desk.clock.now() + HOUR
    new = await desk.accept(scheduled_at=at)
    assert await aid.do(Deed.HOLD, Filter(status="scheduled")) == (1, 1)
    assert await aid.found(status="held") == [new.id]
    await aid.do(Deed.RELEASE)
    assert await aid.found(status="scheduled") == [new.id]
    assert (await desk.view(new)).due_at == at


async def test_a_message_held_for_an_unknown_outcome_is_not_released_into_a_second_send(desk: Desk, aid: Aid) -> None:
    """It was handed over: only a person's word about the outcome moves it."""
    new = await desk.accept()
    await desk.unknown(await desk.claim(), hold_unknown=True)
    assert await aid.do(Deed.HOLD) == (1, 0)
    assert await aid.do(Deed.RELEASE) == (1, 0)
    assert (await desk.view(new)).work is Work.HELD
    await desk.store.resolve(new.tenant, new.id, False, desk.clock.now())
    assert (await desk.view(new)).work is Work.QUEUED


async def _partly_unknown(desk: Desk) -> tuple[NewMessage, Claim]:
    """A message whose first recipient is unknown and held for a word, and whose second is still to be tried."""
    new = await desk.accept("ann@example.com", "bob@example.com")
    claim = await desk.claim()
    assert await desk.mark(claim)
    results = [Result.UNKNOWN, Result.PENDING]
    due = desk.clock.now() + HOUR
    more = {"next_work": Work.DEFERRED, "due_at": due, "hold_unknown": True}
    await desk.settle(claim, AttemptOutcome.UNKNOWN, results, BUSY, **more)
    return new, claim


@pytest.mark.parametrize("sent", [True, False])
async def test_a_word_about_an_unknown_recipient_does_not_undo_an_operators_hold(
    desk: Desk, aid: Aid, sent: bool
) -> None:
    """The rest waits for the operator all the same."""
    new, _ = await _partly_unknown(desk)
    assert await aid.do(Deed.HOLD) == (1, 1)
    change = await desk.store.resolve(new.tenant, new.id, sent, desk.clock.now())
    assert change is not None
    assert (change.done, change.due, change.message.work) == (True, False, Work.HELD)
    assert await aid.do(Deed.RELEASE) == (1, 1)
    assert (await desk.view(new)).work is Work.DEFERRED


async def test_releasing_sends_only_what_is_pending(desk: Desk, aid: Aid) -> None:
    """An unknown recipient is still not tried again; in the end the message is held for it."""
    new, _ = await _partly_unknown(desk)
    await aid.do(Deed.HOLD)
    await aid.do(Deed.RELEASE)
    await desk.clock.advance(3600)
    claim = await desk.claim()
    assert [each.wire for each in claim.recipients] == ["bob@example.com"]
    await desk.send(claim)
    assert (await desk.view(new)).work is Work.HELD
    assert await aid.do(Deed.RELEASE) == (1, 0)


async def test_a_retry_does_not_undo_an_operators_hold(desk: Desk, aid: Aid) -> None:
    """Its refused recipients are pending again, and wait with the others."""
    new = await desk.accept("ann@example.com", "bob@example.com")
    claim = await desk.claim()
    assert await desk.mark(claim)
    due = desk.clock.now() + HOUR
    results = [Result.REJECTED, Result.PENDING]
    await desk.settle(claim, AttemptOutcome.DEFERRED, results, BUSY, next_work=Work.DEFERRED, due_at=due)
    await aid.do(Deed.HOLD)
    change = await desk.store.retry(new.tenant, new.id, desk.clock.now(), due + HOUR)
    assert change is not None
    assert (change.done, change.due, change.message.work) == (True, False, Work.HELD)
    await aid.do(Deed.RELEASE)
    assert await desk.results(new) == [Result.PENDING, Result.PENDING]


async def test_a_late_truth_is_taken_and_leaves_the_rest_held(desk: Desk, aid: Aid) -> None:
    """A reply is a fact; a hold is a decision."""
    new, claim = await _partly_unknown(desk)
    await aid.do(Deed.HOLD)
    await desk.settle(claim, AttemptOutcome.PARTLY_SENT, [Result.SENT, Result.PENDING])
    assert await desk.results(new) == [Result.SENT, Result.PENDING]
    assert (await desk.view(new)).work is Work.HELD
    assert await aid.do(Deed.RELEASE) == (1, 1)


async def test_a_held_message_expires_in_its_time(desk: Desk, aid: Aid) -> None:
    """A hold does not stop the lifetime; that it is over is told."""
    new = await desk.accept()
    await aid.do(Deed.HOLD)
    assert await desk.store.next_expiry() == new.expires_at
    (expired,) = await desk.store.expire(new.expires_at, 10)
    assert (expired.message, expired.work, expired.has_left) == (new.id, Work.DONE, False)
    assert (await desk.timeline(new))[-1] == "expired ann@example.com"
    assert await aid.do(Deed.RELEASE) == (0, 0)


async def test_an_unknown_that_is_final_does_not_keep_an_expired_message_held(desk: Desk, aid: Aid) -> None:
    """Its tenant's policy was not to wait for a word."""
    new = await desk.accept("ann@example.com", "bob@example.com")
    claim = await desk.claim()
    assert await desk.mark(claim)
    due = desk.clock.now() + HOUR
    results = [Result.UNKNOWN, Result.PENDING]
    await desk.settle(claim, AttemptOutcome.UNKNOWN, results, BUSY, next_work=Work.DEFERRED, due_at=due)
    await aid.do(Deed.HOLD)
    await desk.store.expire(new.expires_at, 10)
    assert (await desk.view(new)).work is Work.DONE


async def test_what_is_being_sent_is_not_held(desk: Desk, aid: Aid) -> None:
    """It matches and is not changed."""
    new = await desk.accept()
    claim = await desk.claim()
    assert await aid.do(Deed.HOLD) == (1, 0)
    await desk.send(claim)
    assert (await desk.view(new)).work is Work.DONE


async def test_a_hold_survives_a_restart(open_desk: Open) -> None:
    """And so does what it goes back to."""
    desk = await open_desk()
    new = await desk.accept()
    await Aid(desk).do(Deed.HOLD)
    await desk.store.close()
    again = await open_desk()
    assert await again.store.lanes() == ()
    assert await Aid(again).do(Deed.RELEASE) == (1, 1)
    assert (await again.view(new)).due_at == new.due_at


# ---------------------------------------------------------------- cancel


async def test_what_waits_is_canceled_with_an_event_for_each_recipient(desk: Desk, aid: Aid) -> None:
    """Queued, held and scheduled alike."""
    queued = await desk.accept("ann@example.com", "bob@example.com")
    await desk.accept(scheduled_at=desk.clock.now() + HOUR)
    held = await desk.accept()
    await aid.do(Deed.HOLD, Filter(tenant="billing", before=None, status="queued"))
    await aid.do(Deed.RELEASE)
    await aid.do(Deed.HOLD, Filter(status="queued"))
    aid.told.clear()
    assert await aid.do(Deed.CANCEL) == (3, 3)
    assert [(each.left, each.canceled) for each in aid.told] == [(False, 2), (True, 1), (False, 1)]
    assert (await desk.timeline(queued))[-2:] == ["canceled ann@example.com", "canceled bob@example.com"]
    events = await desk.store.events(held.tenant, held.id)
    assert events is not None
    assert events[-1].cause == "an operator canceled it"
    assert await aid.found() == []


async def test_the_mark_is_the_fence_of_an_operators_cancel_too(desk: Desk, aid: Aid) -> None:
    """Before it the attempt loses its message, behind it the message is matched and not changed."""
    early, late = await desk.accept(), await desk.accept()
    first, second = await desk.claim(), await desk.claim()
    assert await desk.mark(second)
    assert await aid.do(Deed.CANCEL) == (2, 1)
    assert not await desk.mark(first)
    await desk.settle(first, AttemptOutcome.ABORTED, [Result.PENDING], None, charged=0)
    await desk.settle(second)
    assert await desk.results(early) == [Result.CANCELED]
    assert await desk.results(late) == [Result.SENT]


async def test_what_is_held_for_an_unknown_outcome_is_not_canceled(desk: Desk, aid: Aid) -> None:
    """Nothing of it is pending: it was handed over."""
    await desk.accept()
    await desk.unknown(await desk.claim(), hold_unknown=True)
    assert await aid.do(Deed.CANCEL) == (1, 0)


# ---------------------------------------------------------------- filters


async def test_each_filter_finds_its_own_and_all_are_asked_together(desk: Desk, aid: Aid) -> None:
    """Across tenants; done messages are not in the queue."""
    start = desk.clock.now()
    done = await desk.accept()
    await desk.send(await desk.claim())
    old = await desk.accept(tags=(("run", "1"),))
    await desk.clock.advance(60)
    other = await desk.accept(sender_key="shop@contoso.com", tags=(("run", "2"),))
    foreign = await desk.accept(tenant="shop", tags=(("run", "1"),), priority=Priority.BULK)
    later = await desk.accept(scheduled_at=desk.clock.now() + HOUR)
    assert await aid.found() == [later.id, foreign.id, other.id, old.id]
    assert await aid.found(tenant="shop") == [foreign.id]
    assert await aid.found(sender_key="shop@contoso.com") == [other.id]
    assert await aid.found(tag=("run", "1")) == [foreign.id, old.id]
    assert await aid.found(tag=("run", "1"), tenant="billing") == [old.id]
    assert await aid.found(status="scheduled") == [later.id]
    assert await aid.found(status="queued", sender_key=SENDER) == [foreign.id, old.id]
    assert await aid.found(before=start + timedelta(seconds=60)) == [old.id]
    assert await aid.found(tenant="nobody") == []
    await desk.clock.advance(3600)
    assert await aid.found(status="scheduled") == []
    assert later.id in await aid.found(status="queued")
    assert done.id not in await aid.found()


async def test_pages_follow_each_other_both_ways(desk: Desk, aid: Aid) -> None:
    """Newest first, across tenants and statuses, with no message twice or left out."""
    ids = [(await desk.accept(tenant=("billing", "shop")[each % 2])).id for each in range(7)]
    await aid.do(Deed.HOLD, Filter(tenant="shop"))
    now, newest_first = desk.clock.now(), ids[::-1]
    first = await aid.store.queue(Filter(), now, 3, None, None)
    second = await aid.store.queue(Filter(), now, 3, first.next, None)
    last = await aid.store.queue(Filter(), now, 3, second.next, None)
    assert [[each.id for each in page.messages] for page in (first, second, last)] == [
        newest_first[:3],
        newest_first[3:6],
        newest_first[6:],
    ]
    assert (first.previous, last.next) == (None, None)
    back = await aid.store.queue(Filter(), now, 3, None, last.previous)
    assert [each.id for each in back.messages] == newest_first[3:6]
    assert (await aid.store.queue(Filter(tenant="nobody"), now, 3, None, None)).messages == ()


async def test_what_is_accepted_afterwards_is_not_touched(desk: Desk, aid: Aid) -> None:
    """An order is about what there is when it is given."""
    await desk.accept()
    now = desk.clock.now()
    await desk.clock.advance(1)
    await desk.accept()
    assert await aid.store.change(Deed.HOLD, ALL, WHO, now, aid.told.extend) == Tally(1, 1)


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("status", [None, "queued", "scheduled", "held"])
def test_no_filter_walks_through_the_history(db: apsw.Connection, status: str | None, newest_first: bool) -> None:
    """Each statement is a range of one index, in its order."""
    asked = Filter(None, "a", ("b", "c"), status, None)
    names = ("tenant", "stored", "low", "high", "limit", "sender", "tag", "value", "now", "created_before")
    bindings: dict[str, Any] = dict.fromkeys(names)
    for _, statement in selecting.statements(asked, newest_first=newest_first):
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)]
        assert "messages_status (tenant=? AND status=? AND seq>? AND seq<?)" in steps[0]
        assert not [each for each in steps if "SCAN" in each or "TEMP B-TREE" in each]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = open_file(tmp_path / "plans.db", 0, None)
    yield opened.db
    opened.db.close()
    opened.lock.release()


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("recipients", "sizes"),
    [
        ([], []),
        ([1] * STEP_MESSAGES, [STEP_MESSAGES]),
        ([1] * (STEP_MESSAGES + 1), [STEP_MESSAGES, 1]),
        ([STEP_RECIPIENTS, 1], [1, 1]),
        ([500, 500], [1, 1]),
        ([STEP_RECIPIENTS - 1, 1, 1], [2, 1]),
    ],
)
def test_a_step_is_bounded_in_messages_and_recipients(recipients: Sequence[int], sizes: list[int]) -> None:
    places = [Place(seq, count) for seq, count in enumerate(recipients)]
    assert [len(step) for step in steps_of(places)] == sizes
    assert [seq for step in steps_of(places) for seq in step] == list(range(len(recipients)))


async def test_a_large_order_is_done_in_steps_and_holds_no_accept_up(desk: Desk, aid: Aid) -> None:
    """2,000 messages; every one is changed once, delivery hears of each, and accepts go on in between."""
    for _ in range(20):
        await asyncio.gather(*(desk.store.accept(letter(desk.clock, "a@x.test", "b@x.test")) for _ in range(100)))
    order = asyncio.create_task(aid.do(Deed.CANCEL))
    waits = []
    while not order.done():
        began = time.monotonic()
        await desk.store.accept(letter(desk.clock, created_at=desk.clock.now() + HOUR))
        waits.append(time.monotonic() - began)
    assert await order == (2000, 2000)
    assert sum(each.canceled for each in aid.told) == 4000
    assert len(waits) > 20
    # An accept never waits for more than a step; the bound leaves room for a busy machine.
    assert sorted(waits)[len(waits) * 9 // 10] < 0.2
    assert (await desk.store.counts()).by_work[Work.QUEUED] == len(waits)


# ---------------------------------------------------------------- pauses and audit


async def test_a_pause_is_kept_until_it_is_resumed(open_desk: Open, clock: ManualClock) -> None:
    """With who and since; a second pause changes nothing, and both stand in the audit."""
    desk = await open_desk()
    aid = Aid(desk)
    since = clock.now()
    assert await aid.store.pause("billing", WHO, since)
    await clock.advance(60)
    assert not await aid.store.pause("billing", "cli:root", clock.now())
    await desk.store.close()
    again = Aid(await open_desk())
    (paused,) = await again.store.paused()
    assert (paused.tenant, paused.who, paused.since) == ("billing", WHO, since)
    assert await again.store.resume("billing", WHO, clock.now())
    assert not await again.store.resume("billing", WHO, clock.now())
    assert await again.store.paused() == ()
    assert await again.audited() == [
        ("tenant.resume", "billing", "it was not paused"),
        ("tenant.resume", "billing", None),
        ("tenant.pause", "billing", "it was paused already"),
        ("tenant.pause", "billing", None),
    ]


async def test_each_order_has_one_row_that_tells_its_filters_and_how_far_it_came(desk: Desk, aid: Aid) -> None:
    """Also one that found nothing; the row grows with the steps."""
    for _ in range(STEP_MESSAGES + 1):
        await desk.accept(tags=(("run", "7"),))
    await aid.do(Deed.HOLD, Filter(tenant="billing", tag=("run", "7"), status="queued"))
    await aid.do(Deed.CANCEL, Filter(tenant="nobody"))
    count = STEP_MESSAGES + 1
    assert await aid.audited() == [
        ("queue.cancel", "tenant=nobody", "matched 0, changed 0"),
        ("queue.hold", "tenant=billing tag=run:7 status=queued", f"matched {count}, changed {count}"),
    ]


async def test_the_audit_is_paged_newest_first(aid: Aid) -> None:
    """Both ways, with who and when."""
    now = aid.desk.clock.now()
    for number in range(5):
        await aid.store.note(WHO, "mailbox.park", f"box{number}", None, now)
    first = await aid.store.audit(2, None, None)
    second = await aid.store.audit(2, first.next, None)
    last = await aid.store.audit(2, second.next, None)
    targets = [[row.target for row in page.rows] for page in (first, second, last)]
    assert targets == [["box4", "box3"], ["box2", "box1"], ["box0"]]
    assert (first.previous, last.next) == (None, None)
    back = await aid.store.audit(2, None, last.previous)
    assert [row.target for row in back.rows] == ["box2", "box1"]
    assert (first.rows[0].who, first.rows[0].at, first.rows[0].id[:4]) == (WHO, now, "aud_")
