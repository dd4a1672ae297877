"""Stories of housekeeping: retention, room, parked mailboxes, backup and check."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from app.mail.message import AttemptOutcome, Result, Work
from app.queue import keep
from app.queue.contract import StoreError
from app.queue.rows import Idempotency, ParkedRow
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import REFUSED, TENANT, Desk

DAY = timedelta(days=1)
NEVER = timedelta(days=10_000)
TABLES = ["messages", "letters", "tags", "recipients", "attempts", "events", "content", "loose", "idempotency"]


def rows_of(desk: Desk) -> dict[str, int]:
    """How many rows each table has, by a second connection."""
    db = apsw.Connection(str(desk.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in TABLES}
    finally:
        db.close()


async def test_content_goes_by_how_the_message_ended(desk: Desk, clock: ManualClock) -> None:
    sent = await desk.accept()
    await desk.send(await desk.claim())
    failed = await desk.accept()
    await desk.settle(await desk.claim(), AttemptOutcome.REJECTED, [Result.REJECTED], REFUSED)
    waiting = await desk.accept()
    assert await desk.store.erase_content(clock.now(), timedelta(0), 7 * DAY, 100) == 1
    assert [(await desk.view(each)).content_erased for each in (sent, failed, waiting)] == [True, False, False]
    await clock.advance(7 * 86_400 - 1)
    assert await desk.store.erase_content(clock.now(), timedelta(0), 7 * DAY, 100) == 0
    await clock.advance(1)
    assert await desk.store.erase_content(clock.now(), timedelta(0), 7 * DAY, 100) == 1
    assert [(await desk.view(each)).content_erased for each in (sent, failed, waiting)] == [True, True, False]
    assert [chunk async for chunk in desk.store.content(failed.id)] == []
    assert rows_of(desk)["content"] == 1


async def test_erasing_is_bounded(desk: Desk, clock: ManualClock) -> None:
    for _ in range(150):
        await desk.accept()
        await desk.send(await desk.claim())
    for expected in (70, 70, 10, 0):
        assert await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 70) == expected


async def test_large_content_is_erased_in_steps_that_let_others_in_between(desk: Desk, clock: ManualClock) -> None:
    """A message of 35 MB is gone after several jobs, none of which deletes more than its bound."""
    await desk.accept(content=[bytes(256 * 1024)] * 140, size=35 * 1024 * 1024)
    await desk.send(await desk.claim())
    deleted: list[int] = []
    step = keep.sweep_step

    def counted(transaction: keep.Transaction) -> bool:
        before = transaction.db.total_changes()
        more = step(transaction)
        deleted.append(transaction.db.total_changes() - before)
        return more

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keep, "sweep_step", counted)
        assert await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 10) == 1
    assert rows_of(desk)["content"] == rows_of(desk)["loose"] == 0
    assert max(deleted) <= 16
    assert len(deleted) >= 9


async def test_erasing_goes_on_after_a_restart(open_desk, clock: ManualClock) -> None:
    desk = await open_desk()
    await desk.accept(content=[bytes(256 * 1024)] * 40, size=10 * 1024 * 1024)
    await desk.send(await desk.claim())
    step = keep.erase_step
    await desk.store._writer.do("keep", lambda t: step(t, (2**60, 2**60), 10))  # a crash before the first sweep
    assert rows_of(desk)["content"] == 40
    await desk.store.close()
    desk = await open_desk()
    await desk.store.erase_content(clock.now(), NEVER, NEVER, 10)
    assert rows_of(desk)["content"] == 0


async def test_accepts_are_served_between_the_steps_of_housekeeping(desk: Desk, clock: ManualClock) -> None:
    for _ in range(200):
        await desk.accept()
        await desk.send(await desk.claim())
    keeping = asyncio.create_task(desk.store.forget(clock.now(), timedelta(0), timedelta(0), 10_000))
    served = 0
    while not keeping.done():
        await desk.accept()
        served += 1
    assert await keeping == 200
    assert served >= 2


async def test_a_message_is_forgotten_with_all_that_belongs_to_it(desk: Desk, clock: ManualClock) -> None:
    kept = await desk.accept()
    key = Idempotency("POST /v1/messages", "k", b"f", 202, "/", b"{}")
    gone = await desk.accept("a@example.com", tags=(("a", "b"), ("a", "c")), idempotency=key, due_at=clock.now())
    for _ in range(2):
        await desk.send(await desk.claim())
    await desk.store.cancel(TENANT, kept.id, clock.now())
    again = await desk.accept(tags=(("a", "b"),))
    assert await desk.store.forget(clock.now(), DAY, DAY, 100) == 0
    await clock.advance(86_400)
    assert await desk.store.forget(clock.now(), DAY, NEVER, 100) == 2
    assert await desk.store.message(TENANT, gone.id) is None
    assert await desk.store.forget(clock.now(), DAY, DAY, 100) == 1
    await desk.store.erase_content(clock.now(), NEVER, NEVER, 10)
    assert rows_of(desk) == dict.fromkeys(TABLES, 1) | {"attempts": 0, "idempotency": 0, "loose": 0}
    assert (await desk.view(again)).tags == (("a", "b"),)
    assert (await desk.store.counts()).by_work[Work.DONE] == 0


async def test_forgetting_is_bounded(desk: Desk, clock: ManualClock) -> None:
    for number in range(100):
        await desk.accept(idempotency=Idempotency("r", str(number), b"f", 202, "/", b"{}"))
        await desk.send(await desk.claim())
    forgotten = [await desk.store.forget(clock.now(), timedelta(0), timedelta(0), 90) for _ in range(4)]
    assert forgotten == [90, 90, 20, 0]


async def test_spare_pages_go_back_to_the_disk(desk: Desk, clock: ManualClock) -> None:
    for _ in range(3):
        await desk.accept(content=[bytes(256 * 1024)] * 40, size=10 * 1024 * 1024)
        await desk.send(await desk.claim())
    before = await desk.store.counts()
    await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 10)
    after = await desk.store.counts()
    assert before.file_bytes > 30 * 1024 * 1024
    assert after.file_bytes < before.file_bytes - 10 * 1024 * 1024
    assert 0 < after.free_bytes <= 4096 * 4096


async def test_freed_pages_are_used_again(desk: Desk, clock: ManualClock) -> None:
    sizes = []
    for _ in range(4):
        for _ in range(20):
            await desk.accept(content=[bytes(200 * 1024)], size=200 * 1024)
            await desk.send(await desk.claim())
        await desk.store.erase_content(clock.now(), timedelta(0), timedelta(0), 100)
        sizes.append((await desk.store.counts()).file_bytes)
    assert sizes[-1] < sizes[0] * 1.1


async def test_counts_tell_how_full_the_store_is(desk: Desk, clock: ManualClock) -> None:
    empty = await desk.store.counts()
    assert (set(empty.by_work.values()), empty.oldest_waiting) == ({0}, None)
    oldest = await desk.accept(due_at=clock.now() + timedelta(seconds=5))
    await clock.advance(1)
    for _ in range(5):
        await desk.accept()
    await desk.send(await desk.claim())
    await desk.deferred(await desk.claim())
    await desk.settle(await desk.claim(), AttemptOutcome.DEFERRED, [Result.PENDING], REFUSED, next_work=Work.HELD)
    await desk.claim()
    counts = await desk.store.counts()
    assert counts.by_work == {Work.QUEUED: 2, Work.SENDING: 1, Work.DEFERRED: 1, Work.HELD: 1, Work.DONE: 1}
    assert counts.oldest_waiting == oldest.created_at
    assert counts.file_bytes > 0
    assert counts.disk_free_bytes > 0


async def test_counts_are_the_same_after_a_restart(open_desk) -> None:
    desk = await open_desk()
    for _ in range(4):
        await desk.accept()
    await desk.send(await desk.claim())
    await desk.claim()
    before = (await desk.store.counts()).by_work
    await desk.store.close()
    assert (await (await open_desk()).store.counts()).by_work == before


async def test_parked_mailboxes_survive_a_restart(open_desk, clock: ManualClock) -> None:
    desk = await open_desk()
    row = ParkedRow("noreply", "535 5.7.139", "The password is wrong.", "Change it.", clock.now(), None, "ab12")
    await desk.store.park(row)
    other = ParkedRow("b", "r", "c", "d", clock.now(), clock.now() + DAY, "x", 2, clock.now() + DAY)
    await desk.store.park(other)
    changed = ParkedRow(**{name: getattr(row, name) for name in row.__slots__} | {"probes": 1, "probe_at": clock.now()})
    await desk.store.park(changed)
    await desk.store.close()
    desk = await open_desk()
    assert await desk.store.parked() == (other, changed)
    assert await desk.store.release("noreply")
    assert not await desk.store.release("noreply")
    assert await desk.store.parked() == (other,)


async def test_the_secret_of_fingerprints_is_made_once(open_desk, tmp_path: Path) -> None:
    desk = await open_desk()
    secrets = await asyncio.gather(*(desk.store.fingerprint_key() for _ in range(5)))
    await desk.store.close()
    desk = await open_desk()
    assert {*secrets, await desk.store.fingerprint_key()} == {secrets[0]}
    assert len(secrets[0]) == 32
    other = await open_desk(tmp_path / "other.db")
    assert await other.store.fingerprint_key() != secrets[0]


async def test_a_backup_is_a_whole_store_of_one_moment(open_desk, tmp_path: Path) -> None:
    desk = await open_desk()
    news = [await desk.accept(content=[bytes(100_000)], size=100_000) for _ in range(50)]
    target = tmp_path / "copies" / "backup.db"
    target.parent.mkdir()
    copying = asyncio.create_task(desk.store.backup(target))
    while not copying.done():
        await desk.accept()
    await copying
    await desk.store.backup(target)
    assert sorted(each.name for each in target.parent.iterdir()) == ["backup.db"]
    copy = await open_desk(target)
    assert await copy.store.check() == ()
    assert (await copy.store.counts()).by_work[Work.QUEUED] >= 50
    assert await copy.store.message(TENANT, news[0].id) == await desk.store.message(TENANT, news[0].id)


async def test_a_backup_that_cannot_be_written_says_so(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        await desk.store.backup(tmp_path / "nowhere" / "backup.db")


async def test_a_check_names_what_is_wrong(open_desk) -> None:
    desk = await open_desk()
    await desk.accept()
    assert await desk.store.check() == ()
    await desk.store._writer.do("test", lambda t: t.db.execute("UPDATE messages SET sent = 1; DELETE FROM content"))
    assert await desk.store.check() == (
        "1 messages count their recipients wrongly",
        "1 messages with something pending have no content",
    )
