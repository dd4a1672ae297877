"""Stories of reading: messages as shown, timelines, and listings by every filter."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.mail.message import AttemptOutcome, Kind, Priority, Result, Work, api_status
from app.queue.rows import NewMessage
from app.queue.views import ListQuery, Page
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import BUSY, REFUSED, SENDER, TENANT, Desk, letter, recipient

SHOWN = ["id", "tenant", "sender", "sender_key", "subject", "message_id", "created_at", "expires_at", "size", "tags"]
P, S, R, U = Result.PENDING, Result.SENT, Result.REJECTED, Result.UNKNOWN


async def listed(desk: Desk, **filters: Any) -> list[str]:
    """The ids of the first page."""
    query = ListQuery(filters.pop("tenant", TENANT), desk.clock.now(), **({"limit": 100} | filters))
    return [each.id for each in (await desk.store.messages(query)).messages]


async def test_a_message_is_shown_as_it_was_given(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept(
        recipients=(
            recipient("Ann@example.com"),
            recipient("bob@example.com", kind=Kind.CC),
            recipient("eve@example.com", kind=Kind.BCC),
        ),
        priority=Priority.URGENT,
        tags=(("kind", "invoice"), ("kind", "invoice"), ("year", "2026")),
        metadata={"order": "42", "ключ": "значение"},
        subject="Grüße",
        is_test=True,
        size=4711,
    )
    view = await desk.view(new)
    for name in [
        "id",
        "tenant",
        "sender",
        "sender_key",
        "subject",
        "message_id",
        "created_at",
        "expires_at",
        "size",
        "tags",
        "metadata",
    ]:
        assert getattr(view, name) == getattr(new, name)
    assert view.metadata == new.metadata
    assert (view.work, view.priority, view.is_test, view.tries) == (Work.QUEUED, Priority.URGENT, True, 0)
    assert (view.scheduled_at, view.due_at, view.attempts, view.content_erased) == (None, clock.now(), (), False)
    assert [(each.address, each.kind) for each in view.recipients] == [
        ("Ann@example.com", Kind.TO),
        ("bob@example.com", Kind.CC),
        ("eve@example.com", Kind.BCC),
    ]
    assert view.lane == (await desk.store.lanes())[0].key


async def test_a_message_of_another_tenant_is_not_there(desk: Desk) -> None:
    new = await desk.accept()
    await desk.accept(tenant="hr")
    assert await desk.store.message("hr", new.id) is None
    assert await desk.store.events("hr", new.id) is None
    assert await listed(desk, tenant="hr") != [new.id]
    assert await listed(desk, tenant="nobody") == []


async def test_an_event_tells_everything(desk: Desk, clock: ManualClock) -> None:
    new = await desk.accept()
    claim = await desk.claim()
    await clock.advance(1)
    await desk.deferred(claim, 30)
    events = await desk.store.events(TENANT, new.id)
    assert events is not None
    assert [each.id for each in events] == sorted(each.id for each in events)
    accepted, attempted, deferred = events
    assert (accepted.type, accepted.at, accepted.attempt) == ("accepted", new.created_at, None)
    assert (attempted.type, attempted.attempt, attempted.reply, attempted.recipient) == ("attempted", 1, BUSY, None)
    assert (deferred.type, deferred.attempt, deferred.reply) == ("deferred", 1, BUSY)
    assert deferred.next_attempt_at == clock.now() + timedelta(seconds=30)


# -- listings


async def stock(desk: Desk, clock: ManualClock) -> dict[str, NewMessage]:
    """One message of each status, with a sender, a tag and a recipient of its own, a minute apart."""
    news = {}

    async def add(status: str, *addresses: str, **more: Any) -> NewMessage:
        await clock.advance(60)
        news[status] = await desk.accept(
            f"{status}@example.com",
            "all@example.com",
            *addresses,
            sender_key=f"{status}@contoso.com",
            tags=(("status", status), ("all", "yes")),
            **more,
        )
        return news[status]

    async def claim(status: str, **more: Any) -> Any:
        await add(status, **more)
        return await desk.claim(await desk.lane(f"{status}@contoso.com"))

    await desk.send(await claim("sent"))
    await desk.settle(await claim("partially_sent"), AttemptOutcome.PARTLY_SENT, [S, R], REFUSED)
    await desk.settle(await claim("failed"), AttemptOutcome.REJECTED, [R, R], REFUSED)
    await desk.unknown(await claim("unknown"))
    await desk.unknown(await claim("held"), hold_unknown=True)
    await desk.deferred(await claim("deferred"), 3600)
    await add("canceled")
    await desk.store.cancel(TENANT, news["canceled"].id, clock.now())
    await add("expired", expires_at=clock.now() + timedelta(seconds=61))
    await clock.advance(1)
    await desk.store.expire(clock.now(), 10)
    await claim("sending")
    await add("queued")
    await add("scheduled", scheduled_at=clock.now() + timedelta(hours=9))
    await add("was scheduled", scheduled_at=clock.now() + timedelta(seconds=90))
    await clock.advance(60)
    return news


async def test_every_filter_finds_its_messages_newest_first(desk: Desk, clock: ManualClock) -> None:
    news = await stock(desk, clock)
    newest_first = [new.id for new in reversed(news.values())]
    assert await listed(desk) == newest_first
    assert await listed(desk, to_key="all@example.com") == newest_first
    assert await listed(desk, tag=("all", "yes")) == newest_first
    for name, new in news.items():
        assert await listed(desk, to_key=f"{name}@example.com") == [new.id]
        assert await listed(desk, sender_key=f"{name}@contoso.com") == [new.id]
        assert await listed(desk, tag=("status", name)) == [new.id]
        if name == "queued":
            assert await listed(desk, status=name) == [news["was scheduled"].id, new.id]
        elif name != "was scheduled":
            assert await listed(desk, status=name) == [new.id], name
    for filters in ({"status": "nonsense"}, {"to_key": "x"}, {"sender_key": "x"}, {"tag": ("all", "no")}):
        assert await listed(desk, **filters) == []


async def test_filters_together_find_what_each_of_them_finds(desk: Desk, clock: ManualClock) -> None:
    """Every pair and triple of filters is the intersection of its parts."""
    news = await stock(desk, clock)
    times = [new.created_at for new in news.values()]
    filters: list[dict[str, Any]] = [
        {"status": "queued"},
        {"status": "scheduled"},
        {"status": "sent"},
        {"to_key": "all@example.com"},
        {"sender_key": "sent@contoso.com"},
        {"sender_key": "queued@contoso.com"},
        {"tag": ("all", "yes")},
        {"tag": ("status", "was scheduled")},
        {"created_after": times[1]},
        {"created_before": times[-1]},
    ]
    alone = [await listed(desk, **each) for each in filters]
    assert [len(each) for each in alone[-2:]] == [len(news) - 2, len(news) - 1]
    for size in (2, 3):
        for chosen in itertools.combinations(range(len(filters)), size):
            together: dict[str, Any] = {}
            for each in chosen:
                together |= filters[each]
            if len(together) < size:
                continue
            expected = [each for each in await listed(desk) if all(each in alone[one] for one in chosen)]
            assert await listed(desk, **together) == expected, together


async def test_a_recipient_that_stands_twice_in_a_message_lists_it_once(desk: Desk) -> None:
    new = await desk.accept(recipients=(recipient(), recipient(kind=Kind.CC)))
    assert await listed(desk, to_key="ann@example.com") == [new.id]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("filters", [{}, {"tag": ("n", "odd")}, {"status": "queued"}, {"to_key": "ann@example.com"}])
async def test_pages_lead_to_the_end_and_back(desk: Desk, clock: ManualClock, limit: int, filters: Any) -> None:
    """Going on by ``next`` shows everything once; going back by ``previous`` shows the same pages."""
    for number in range(9):
        await clock.advance(1)
        odd = number % 2
        scheduled = clock.now() + timedelta(seconds=0.5) if number % 3 else None
        await desk.accept(tags=(("n", "odd" if odd else "even"),), scheduled_at=scheduled)
    await clock.advance(1)
    everything = await listed(desk, **filters)

    async def page(**position: int) -> Page:
        return await desk.store.messages(ListQuery(TENANT, clock.now(), limit, **(filters | position)))

    pages = [await page()]
    while pages[-1].next is not None:
        pages.append(await page(after=pages[-1].next))
    assert [each.id for one in pages for each in one.messages] == everything
    assert pages[0].previous is None
    back = [pages[-1]]
    while back[-1].previous is not None:
        back.append(await page(before=back[-1].previous))
    assert [each.messages for each in reversed(back)] == [each.messages for each in pages]


async def test_a_cursor_stays_where_it_is_while_messages_arrive(desk: Desk, clock: ManualClock) -> None:
    old = [await desk.accept() for _ in range(3)]
    first = await desk.store.messages(ListQuery(TENANT, clock.now(), 2))
    await desk.accept()
    second = await desk.store.messages(ListQuery(TENANT, clock.now(), 2, after=first.next))
    assert [each.id for each in second.messages] == [old[0].id]


async def test_bounds_of_creation_are_exclusive_and_exact(desk: Desk, clock: ManualClock) -> None:
    """Also among messages of one instant, whose places differ."""
    now = clock.now()
    instants = [now, now, now, now + timedelta(microseconds=1), now + timedelta(seconds=1)]
    news = [await desk.accept(created_at=at) for at in instants]
    assert await listed(desk, created_after=now) == [news[4].id, news[3].id]
    assert await listed(desk, created_before=now + timedelta(seconds=1)) == [each.id for each in reversed(news[:4])]
    assert await listed(desk, created_before=now) == []
    assert await listed(desk, created_after=now, created_before=now + timedelta(seconds=1)) == [news[3].id]


async def test_a_page_beyond_the_end_is_empty(desk: Desk, clock: ManualClock) -> None:
    await desk.accept()
    assert await desk.store.messages(ListQuery(TENANT, clock.now(), after=1)) == Page((), None, None)


# -- the status that is listed is the status that is shown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    work=st.sampled_from(Work),
    results=st.lists(st.sampled_from(Result), min_size=1, max_size=3),
    tries=st.integers(0, 2),
    scheduled=st.sampled_from([None, -1, 1]),
)
async def test_the_status_of_a_listing_agrees_with_the_status_shown(
    status_desk: Desk, work: Work, results: list[Result], tries: int, scheduled: int | None
) -> None:
    """Whatever state a message is in: the engine's column and ``api_status`` say the same."""
    if (work is Work.DONE and P in results) or (work in (Work.QUEUED, Work.DEFERRED) and P not in results):
        return
    desk = status_desk
    now = desk.clock.now()
    new = letter(
        desk.clock,
        recipients=tuple(recipient(result=each) for each in results),
        scheduled_at=None if scheduled is None else now + timedelta(hours=scheduled),
    )
    await desk.store.accept(new)
    waits = work in (Work.QUEUED, Work.DEFERRED)
    await desk.store._writer.do(  # the only way to every state, reachable or not
        "test",
        lambda t: t.db.execute(
            "UPDATE messages SET work = ?, tries = ?, due_at = ?, done_at = ?, attempt = ? WHERE id = ?",
            (work, tries, 1 if waits else None, 1 if work is Work.DONE else None, work is Work.SENDING or None, new.id),
        ),
    )
    expected = api_status(work, results, tried=tries > 0, scheduled=scheduled == 1)
    assert await listed(desk, status=expected, to_key="ann@example.com", limit=1) == [new.id]
    assert (await desk.view(new)).work is work


@pytest.fixture
async def status_desk(open_desk) -> Desk:
    """A store that nobody checks at the end: its states are put in by hand."""
    return await open_desk()


async def test_the_sender_of_a_lane_is_the_sender_of_a_listing(desk: Desk) -> None:
    new = await desk.accept()
    assert await listed(desk, sender_key=SENDER) == [new.id]
