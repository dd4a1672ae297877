"""Stories of taking in: what is on disk once ``accept`` returns, and what is never stored."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import apsw
import pytest

from app.mail.message import Kind, Result, Work
from app.queue.contract import StoreError
from app.queue.rows import Accepted, Idempotency, KeyReused, OverQuota, QuotaPolicy, Replayed
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import REFUSED, SENT, TENANT, Desk, letter, recipient


def on_disk(desk: Desk, statement: str) -> list[tuple[object, ...]]:
    """Ask through a second connection."""
    db = apsw.Connection(str(desk.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(statement).fetchall()
    finally:
        db.close()


def key(name: str = "k1", fingerprint: bytes = b"f" * 32, route: str = "POST /v1/messages") -> Idempotency:
    return Idempotency(route, name, fingerprint, 202, "/v1/messages/msg_1", b'{"id": "msg_1"}')


async def test_an_accepted_message_is_on_disk_with_everything_that_belongs_to_it(desk: Desk) -> None:
    new = letter(
        desk.clock,
        "Ann@Example.com",
        "bob@example.com",
        tags=(("kind", "invoice"),),
        metadata={"order": "42"},
        content=[b"one", b"two"],
        idempotency=key(),
    )
    accepted = await desk.store.accept(new)
    assert isinstance(accepted, Accepted)
    assert accepted.lane is not None
    assert on_disk(desk, "SELECT id, work, pending, recipients, status FROM messages") == [
        (new.id, "queued", 2, 2, "queued")
    ]
    assert on_disk(desk, "SELECT address, key, result FROM recipients ORDER BY no") == [
        ("Ann@Example.com", "ann@example.com", "pending"),
        ("bob@example.com", "bob@example.com", "pending"),
    ]
    assert on_disk(desk, "SELECT no, chunk FROM content ORDER BY no") == [(0, b"one"), (1, b"two")]
    assert on_disk(desk, "SELECT type FROM events") == [("accepted",)]
    assert on_disk(desk, "SELECT key, location FROM idempotency") == [("k1", "/v1/messages/msg_1")]
    assert on_disk(desk, "SELECT name, value FROM tags") == [("kind", "invoice")]
    ((subject, metadata),) = on_disk(desk, "SELECT subject, metadata FROM letters")
    assert (subject, json.loads(str(metadata))) == ("Your invoice", {"order": "42"})


async def test_200_twins_with_one_key_store_one_message(desk: Desk) -> None:
    twins = [letter(desk.clock, idempotency=key()) for _ in range(200)]
    outcomes = await asyncio.gather(*(desk.store.accept(twin) for twin in twins))
    assert sum(isinstance(each, Accepted) for each in outcomes) == 1
    assert [each for each in outcomes if not isinstance(each, Accepted)] == [
        Replayed(202, "/v1/messages/msg_1", b'{"id": "msg_1"}')
    ] * 199
    assert on_disk(desk, "SELECT count(*) FROM messages") == [(1,)]


async def test_a_key_with_another_fingerprint_is_refused(desk: Desk) -> None:
    await desk.accept(idempotency=key())
    assert await desk.store.accept(letter(desk.clock, idempotency=key(fingerprint=b"g" * 32))) == KeyReused()
    now = desk.clock.now()
    assert await desk.store.replay(TENANT, "POST /v1/messages", "k1", b"g" * 32, now) == KeyReused()
    assert await desk.store.replay(TENANT, "POST /v1/messages", "k1", b"f" * 32, now) == Replayed(
        202, "/v1/messages/msg_1", b'{"id": "msg_1"}'
    )


async def test_keys_of_two_tenants_and_of_two_routes_are_apart(desk: Desk) -> None:
    await desk.accept(idempotency=key())
    await desk.accept(idempotency=key(), tenant="hr")
    await desk.accept(idempotency=key(route="POST /v1/messages/batch"))
    assert await desk.store.replay("it", "POST /v1/messages", "k1", b"f" * 32, desk.clock.now()) is None


async def test_a_key_past_its_retention_is_free_again(open_desk, clock: ManualClock) -> None:
    desk = await open_desk(idempotency_retention=timedelta(hours=24))
    await desk.accept(idempotency=key())
    await clock.advance(24 * 3600 - 1)
    assert isinstance(await desk.store.accept(letter(clock, idempotency=key())), Replayed)
    await clock.advance(1)
    assert await desk.store.replay(TENANT, "POST /v1/messages", "k1", b"f" * 32, clock.now()) is None
    assert isinstance(await desk.store.accept(letter(clock, idempotency=key(fingerprint=b"g" * 32))), Accepted)
    assert isinstance(await desk.store.accept(letter(clock, idempotency=key(fingerprint=b"g" * 32))), Replayed)


async def test_a_message_with_nothing_left_to_do_is_done_at_once(desk: Desk) -> None:
    new = letter(
        desk.clock,
        recipients=(
            recipient("a@example.com", Result.SENT, reply=SENT),
            recipient("b@example.com", Result.REJECTED, reply=REFUSED, cause="There is no such person.", cure="Ask."),
            recipient("c@example.com", Result.SUPPRESSED, kind=Kind.BCC),
        ),
    )
    assert await desk.store.accept(new) == Accepted(None)
    view = await desk.view(new)
    assert view.work is Work.DONE
    assert [each.result for each in view.recipients] == [Result.SENT, Result.REJECTED, Result.SUPPRESSED]
    assert view.recipients[1].reply == REFUSED
    assert view.recipients[1].cause == "There is no such person."
    assert view.recipients[2].kind is Kind.BCC
    assert await desk.timeline(new) == [
        "accepted",
        "sent a@example.com",
        "rejected b@example.com",
        "suppressed c@example.com",
    ]
    assert await desk.store.lanes() == ()


async def test_a_message_with_some_recipients_settled_waits_for_the_others(desk: Desk) -> None:
    new = letter(
        desk.clock, recipients=(recipient("a@example.com", Result.REJECTED, reply=REFUSED), recipient("b@example.com"))
    )
    assert isinstance(await desk.store.accept(new), Accepted)
    claim = await desk.claim()
    assert [each.wire for each in claim.recipients] == ["b@example.com"]
    assert (await desk.send(claim)).results == (Result.REJECTED, Result.SENT)


async def test_a_scheduled_message_says_so_first(desk: Desk) -> None:
    at = desk.clock.now() + timedelta(hours=2)
    new = await desk.accept(scheduled_at=at)
    assert await desk.timeline(new) == ["scheduled"]
    view = await desk.view(new)
    assert (view.scheduled_at, view.due_at) == (at, at)
    assert (await desk.pick()).claims == ()


async def test_staged_content_is_adopted_in_the_order_of_its_numbers(desk: Desk) -> None:
    new = letter(desk.clock, content=None)
    await desk.store.stage(new.id, 7, b"last")
    await desk.store.stage(new.id, 0, b"first ")
    assert isinstance(await desk.store.accept(new), Accepted)
    assert b"".join([chunk async for chunk in desk.store.content(new.id)]) == b"first last"
    assert on_disk(desk, "SELECT count(*) FROM loose") == [(0,)]


async def test_a_message_whose_content_never_came_is_not_stored(desk: Desk) -> None:
    with pytest.raises(LookupError):
        await desk.store.accept(letter(desk.clock, content=None))
    assert on_disk(desk, "SELECT count(*) FROM messages") == [(0,)]
    await desk.accept()


async def test_content_that_was_unstaged_is_deleted_bit_by_bit(desk: Desk) -> None:
    for no in range(40):
        await desk.store.stage("msg_given_up", no, bytes(256 * 1024))
    await desk.store.unstage("msg_given_up")
    await desk.store.erase_content(desk.clock.now(), timedelta(0), timedelta(0), 10)
    assert on_disk(desk, "SELECT (SELECT count(*) FROM content), (SELECT count(*) FROM loose)") == [(0, 0)]


async def test_content_that_was_still_arriving_at_a_crash_is_swept_after_the_next_start(open_desk) -> None:
    desk = await open_desk()
    await desk.store.stage("msg_cut", 0, b"half")
    await desk.store.close()
    desk = await open_desk()
    await desk.store.erase_content(desk.clock.now(), timedelta(0), timedelta(0), 10)
    assert on_disk(desk, "SELECT count(*) FROM content") == [(0,)]


async def test_the_queue_limit_is_exact_even_among_concurrent_accepts(open_desk) -> None:
    desk = await open_desk(queue_limit=5)
    outcomes = await asyncio.gather(*(desk.store.accept(letter(desk.clock)) for _ in range(20)), return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, StoreError)]
    assert len(refused) == 15
    assert {each.reason for each in refused} == {"queue-full"}
    assert await desk.store.probe() == "queue-full"
    await desk.send(await desk.claim())
    assert await desk.store.probe() is None
    await desk.accept()


async def test_the_queue_limit_counts_what_an_earlier_process_left(open_desk) -> None:
    desk = await open_desk(queue_limit=1)
    await desk.accept()
    await desk.store.close()
    desk = await open_desk(queue_limit=1)
    with pytest.raises(StoreError, match="queue is full"):
        await desk.accept()


async def test_a_known_key_is_answered_even_when_the_queue_is_full(open_desk) -> None:
    desk = await open_desk(queue_limit=1)
    await desk.accept(idempotency=key())
    assert isinstance(await desk.store.accept(letter(desk.clock, idempotency=key())), Replayed)


async def test_below_the_disk_floor_nothing_is_taken_in_and_sending_goes_on(open_desk, clock: ManualClock) -> None:
    desk = await open_desk()
    await desk.accept()
    await desk.store.close()
    desk = await open_desk(disk_floor=2**60)
    for attempt in (desk.accept(), desk.store.stage("msg_x", 0, b"x")):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert caught.value.reason == "disk-full"
    assert await desk.store.probe() == "disk-full"
    assert (await desk.send(await desk.claim())).work is Work.DONE


async def test_one_bad_row_fails_alone(desk: Desk) -> None:
    """Its neighbours of the same commit are stored."""
    known = await desk.accept()
    news = [letter(desk.clock) for _ in range(10)]
    news[4] = replace(news[4], id=known.id)
    outcomes = await asyncio.gather(*(desk.store.accept(new) for new in news), return_exceptions=True)
    assert [isinstance(each, Accepted) for each in outcomes] == [no != 4 for no in range(10)]
    assert isinstance(outcomes[4], StoreError)
    assert on_disk(desk, "SELECT count(*) FROM messages") == [(10,)]
    assert (await desk.store.counts()).by_work[Work.QUEUED] == 10


async def test_places_follow_the_clock_and_never_collide(desk: Desk) -> None:
    """Messages of one instant, of later ones, and of a wall clock that was set back."""
    now = desk.clock.now()
    for hours in (0, 0, 0, 1, 0, 0, -1, -1, 1):
        await desk.accept(created_at=now + timedelta(hours=hours))
    rows = on_disk(desk, "SELECT seq - created_at FROM messages ORDER BY seq")
    assert len(rows) == 9
    assert all(0 <= int(str(slip)) < 10 for (slip,) in rows)


async def test_awkward_words_are_stored(desk: Desk) -> None:
    """A test key's reply may hold what no encoding can carry."""
    odd = replace(REFUSED, text="lone \udcff surrogate, null \x00, 你好")
    new = letter(desk.clock, recipients=(recipient("a@example.com", Result.REJECTED, reply=odd, cause="\ud800"),))
    await desk.store.accept(new)
    (shown,) = (await desk.view(new)).recipients
    assert shown.reply is not None
    assert shown.reply.text == "lone \\udcff surrogate, null \x00, 你好"
    assert shown.cause == "\\ud800"


MINUTE = QuotaPolicy("messages", "messages", 3, 60)
DAY = QuotaPolicy("recipients", "recipients", 5, 86_400)


async def test_a_quota_has_room_until_it_is_used_and_again_when_enough_has_left_the_window(
    desk: Desk, clock: ManualClock
) -> None:
    for left in (2, 1, 0):
        accepted = await desk.store.accept(letter(clock, quotas=(MINUTE,)))
        assert isinstance(accepted, Accepted)
        assert [state.remaining for state in accepted.quotas] == [left]
        await clock.advance(10)
    over = await desk.store.accept(letter(clock, quotas=(MINUTE,)))
    assert isinstance(over, OverQuota)
    assert [(state.remaining, state.reset_seconds) for state in over.violated] == [(0, 30)]
    await clock.advance(29.9)
    assert isinstance(await desk.store.accept(letter(clock, quotas=(MINUTE,))), OverQuota)
    await clock.advance(0.1)
    assert isinstance(await desk.store.accept(letter(clock, quotas=(MINUTE,))), Accepted)
    assert on_disk(desk, "SELECT count(*) FROM messages") == [(4,)]


async def test_recipients_are_counted_and_only_the_violated_policy_is_named(desk: Desk, clock: ManualClock) -> None:
    await desk.accept("a@example.com", "b@example.com", quotas=(MINUTE, DAY))
    over = await desk.store.accept(letter(clock, *(f"{no}@example.com" for no in range(4)), quotas=(MINUTE, DAY)))
    assert isinstance(over, OverQuota)
    assert [state.policy for state in over.violated] == [DAY]
    assert [state.remaining for state in over.quotas] == [2, 3]
    accepted = await desk.store.accept(letter(clock, *(f"{no}@example.com" for no in range(3)), quotas=(MINUTE, DAY)))
    assert isinstance(accepted, Accepted)
    assert [(state.remaining, state.reset_seconds) for state in accepted.quotas] == [(1, 0), (0, 86_400)]


async def test_quotas_are_exact_among_concurrent_accepts_and_survive_a_restart(open_desk, clock: ManualClock) -> None:
    desk = await open_desk()
    outcomes = await asyncio.gather(*(desk.store.accept(letter(clock, quotas=(MINUTE,))) for _ in range(20)))
    assert sum(isinstance(each, Accepted) for each in outcomes) == 3
    await desk.store.close()
    desk = await open_desk()
    await clock.advance(30)
    over = await desk.store.accept(letter(clock, quotas=(MINUTE,)))
    assert isinstance(over, OverQuota)
    assert 30 <= over.violated[0].reset_seconds <= 31


async def test_quotas_of_tenants_are_apart(desk: Desk, clock: ManualClock) -> None:
    for _ in range(3):
        await desk.accept(quotas=(MINUTE,))
    await desk.accept(tenant="hr", quotas=(MINUTE,))


async def test_a_refused_batch_does_not_count_against_a_quota(desk: Desk, clock: ManualClock) -> None:
    """A commit that is rolled back gives back what it counted."""
    known = await desk.accept(quotas=(MINUTE,))
    news = [letter(clock, quotas=(MINUTE,)) for _ in range(2)]
    news[0] = replace(news[0], id=known.id)
    outcomes = await asyncio.gather(*(desk.store.accept(new) for new in news), return_exceptions=True)
    assert [isinstance(each, Accepted) for each in outcomes] == [False, True]
    accepted = await desk.store.accept(letter(clock, quotas=(MINUTE,)))
    assert isinstance(accepted, Accepted)
    assert accepted.quotas[0].remaining == 0


async def test_a_wall_clock_set_back_does_not_close_a_quota(desk: Desk, clock: ManualClock) -> None:
    for _ in range(3):
        await desk.accept(quotas=(MINUTE,))
    clock.jump_wall(-3600)
    await desk.accept(quotas=(MINUTE,))


async def test_a_message_larger_than_a_quota_is_told_the_whole_window(desk: Desk, clock: ManualClock) -> None:
    over = await desk.store.accept(letter(clock, *(f"{no}@example.com" for no in range(6)), quotas=(DAY,)))
    assert isinstance(over, OverQuota)
    assert over.violated[0].reset_seconds == 86_400


async def test_accepting_resumes_when_the_disk_has_room_again(
    open_desk, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is asked at most once a second."""
    desk = await open_desk(disk_floor=1000)
    asked: list[int] = []
    room = [999]

    def statvfs(_: object) -> SimpleNamespace:
        asked.append(room[0])
        return SimpleNamespace(f_bavail=room[0], f_frsize=1)

    monkeypatch.setattr("app.queue.disk.os.statvfs", statvfs)
    for _ in range(3):
        assert await desk.store.probe() == "disk-full"
    room[0] = 1000
    await clock.advance(0.9)
    with pytest.raises(StoreError, match="1000 octets"):
        await desk.accept()
    assert asked == [999]
    await clock.advance(0.1)
    await desk.accept()
    assert asked == [999, 1000]
