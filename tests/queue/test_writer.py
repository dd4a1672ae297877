"""Stories of the writer: one commit for many, nobody told too early, and what happens when the disk fails."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from app.mail.message import Result, Work
from app.queue import company, writer
from app.queue.contract import StoreError
from app.queue.rows import Accepted, Claim
from tests.support.fault_vfs import Fault, FaultVfs, fault_vfs, full, input_output, on
from tests.support.store_kit import TENANT, Desk, letter

WRITING = [("write", apsw.SQLITE_IOERR_WRITE), ("sync", apsw.SQLITE_IOERR_FSYNC)]


@pytest.fixture
def vfs() -> Iterator[FaultVfs]:
    with fault_vfs() as vfs:
        yield vfs


async def accepted(desk: Desk, count: int) -> list[Accepted | BaseException]:
    """The outcomes of so many accepts at once."""
    return await asyncio.gather(
        *(desk.store.accept(letter(desk.clock)) for _ in range(count)),
        return_exceptions=True,  # type: ignore[return-value]
    )


def reasons(outcomes: list[Accepted | BaseException]) -> Counter[str]:
    return Counter(each.reason if isinstance(each, StoreError) else "accepted" for each in outcomes)


async def test_concurrent_accepts_share_one_sync(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    await desk.accept()
    before = len(vfs.operations)
    await accepted(desk, 100)
    assert len(list(vfs.syncs(before))) <= 5


async def test_transactions_that_were_marked_together_are_settled_in_one_commit(
    open_desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 600.0)
    monkeypatch.setattr(company, "_QUICK", 600.0)
    reached: list[str] = []
    desk = await open_desk(reach=reached.append)
    claims = []
    for _ in range(3):
        await desk.accept()
        claims.append(await desk.claim())
    await asyncio.gather(*map(desk.mark, claims))

    async def answered(claim: Claim, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await desk.settle(claim)

    # Their answers come one shortly after the other.
    answers = (answered(claim, place * 3) for place, claim in enumerate(claims))
    await asyncio.wait_for(asyncio.gather(*answers), 5)
    assert reached.count("settle-before-commit") == 1


async def test_a_settlement_waits_a_moment_and_no_longer_for_one_that_does_not_come(open_desk) -> None:
    desk = await open_desk()
    claims = []
    for _ in range(2):
        await desk.accept()
        claims.append(await desk.claim())
    await asyncio.gather(*map(desk.mark, claims))
    settled = await asyncio.wait_for(desk.settle(claims[0]), 5)
    assert settled.work is Work.DONE


async def test_an_accept_waits_for_no_settlement(open_desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 600.0)
    monkeypatch.setattr(company, "_QUICK", 600.0)
    desk = await open_desk()
    await desk.accept()
    claim = await desk.claim()
    await desk.mark(claim)
    picking = asyncio.create_task(desk.pick(claim.lane))
    await asyncio.wait([picking], timeout=0.05)
    assert not picking.done()
    await asyncio.wait_for(desk.accept(), 5)
    await asyncio.wait_for(picking, 5)


async def test_a_store_that_closes_lets_nobody_wait_for_others(open_desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 600.0)
    monkeypatch.setattr(company, "_QUICK", 600.0)
    desk = await open_desk()
    claims = []
    for _ in range(2):
        await desk.accept()
        claims.append(await desk.claim())
    await asyncio.gather(*map(desk.mark, claims))
    settling = asyncio.create_task(desk.settle(claims[0]))
    await asyncio.wait([settling], timeout=0.05)
    await asyncio.wait_for(desk.store.close(), 5)
    assert (await settling).work is Work.DONE


def test_only_transactions_that_were_marked_a_moment_ago_are_waited_for() -> None:
    now = [0.0]
    known = company.Company(lambda: now[0])
    told = [known.is_expected()]
    known.marked(1)
    now[0] = 0.004
    known.marked(2)
    told.append(known.is_expected())
    known.settled(2)
    told.append(known.is_expected())
    now[0] = 0.006
    told.append(known.is_expected())
    assert told == [False, True, True, False]


async def test_a_batch_is_bounded_in_jobs_and_in_octets(open_desk, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    monkeypatch.setattr(writer, "MAX_BYTES", 4000)
    monkeypatch.setattr(writer, "MAX_JOBS", 10)
    desk = await open_desk(observe=lambda jobs, _: batches.append(jobs))
    await asyncio.gather(*(desk.store.stage("msg_x", no, bytes(1500)) for no in range(60)))
    await asyncio.gather(*(desk.store.unstage(f"msg_{no}") for no in range(600)))
    await desk.store.close()
    bounds = [3 if done < 60 else 10 for done in itertools.accumulate(batches, initial=0)]
    assert all(jobs <= bound for jobs, bound in zip(batches, bounds, strict=False))
    assert max(batches) == 10
    assert 3 in batches


async def test_who_gives_up_waiting_undoes_nothing(desk: Desk) -> None:
    new = letter(desk.clock)
    task = asyncio.create_task(desk.store.accept(new))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await desk.accept()
    assert (await desk.view(new)).work is Work.QUEUED


async def test_closing_finishes_what_waits(open_desk) -> None:
    desk = await open_desk()
    tasks = [asyncio.create_task(desk.store.accept(letter(desk.clock))) for _ in range(50)]
    await asyncio.sleep(0)
    await desk.store.close()
    assert all(isinstance(each, Accepted) for each in await asyncio.gather(*tasks))


async def test_the_store_says_when_nothing_is_under_way(desk: Desk) -> None:
    assert desk.store.is_idle
    task = asyncio.create_task(desk.store.accept(letter(desk.clock)))
    await asyncio.sleep(0)
    assert not desk.store.is_idle
    await task
    assert desk.store.is_idle
    reading = asyncio.create_task(desk.store.lanes())
    await asyncio.sleep(0)
    assert not desk.store.is_idle
    await reading
    assert desk.store.is_idle
    assert re.fullmatch(
        r"<SqliteStore postroom\.db <Writer open, 0 waiting, log of \d+ pages> <Readers 1 open>>", repr(desk.store)
    )


async def test_a_job_that_breaks_fails_alone_and_the_thread_lives(desk: Desk) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    outcomes = await asyncio.gather(
        desk.store.accept(letter(desk.clock)),
        desk.store._writer.do("test", broken),
        desk.store.accept(letter(desk.clock)),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [Accepted, ZeroDivisionError, Accepted]
    assert desk.store.broken is None


# -- a full disk


async def test_a_full_disk_refuses_and_accepting_resumes_by_itself(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    kept = await desk.accept()
    vfs.faults.append(Fault(full, on("write", "-wal")))
    assert reasons(await accepted(desk, 10)) == {"disk-full": 10}
    assert await desk.store.probe() == "disk-full"
    assert desk.store.broken is None
    vfs.faults.clear()
    assert await desk.store.probe() is None
    assert reasons(await accepted(desk, 10)) == {"accepted": 10}
    assert (await desk.store.counts()).by_work[Work.QUEUED] == 11
    assert (await desk.view(kept)).work is Work.QUEUED
    assert await desk.store.check() == ()


@pytest.mark.parametrize("skip", range(0, 24, 3))
async def test_a_disk_that_fills_in_the_middle_of_a_commit_stores_all_or_nothing(
    open_desk, vfs: FaultVfs, skip: int
) -> None:
    """Of each message, wherever the write fails; and what is told is what is kept."""
    desk = await open_desk(vfs=vfs.name)
    await desk.accept()
    vfs.faults.append(Fault(full, on("write", "-wal"), skip=skip, times=1))
    news = [letter(desk.clock) for _ in range(4)]
    outcomes = await asyncio.gather(*(desk.store.accept(new) for new in news), return_exceptions=True)
    for new, outcome in zip(news, outcomes, strict=True):
        is_kept = await desk.store.message(TENANT, new.id) is not None
        assert is_kept == isinstance(outcome, Accepted)
    assert await desk.store.check() == ()


async def test_a_settlement_on_a_full_disk_can_be_repeated(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    new = await desk.accept()
    claim = await desk.claim()
    await desk.mark(claim)
    vfs.faults.append(Fault(full, on("write", "-wal"), times=1))
    with pytest.raises(StoreError, match="disk is full"):
        await desk.settle(claim)
    assert await desk.results(new) == [Result.PENDING]
    assert (await desk.settle(claim)).work is Work.DONE


async def test_no_mark_is_given_that_the_disk_did_not_take(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    await desk.accept()
    claim = await desk.claim()
    vfs.faults.append(Fault(full, on("write", "-wal")))
    with pytest.raises(StoreError):
        await desk.mark(claim)
    assert not (await desk.store.open_attempts())[0].is_marked


async def test_a_checkpoint_on_a_full_disk_is_made_later(open_desk, vfs: FaultVfs, monkeypatch) -> None:
    desk = await open_desk(vfs=vfs.name)
    monkeypatch.setattr(writer, "_CHECKPOINT_PAGES", 20)
    vfs.faults.append(Fault(full, on("write", ".db")))
    desk.store._writer._checkpoint_at = 0
    assert reasons(await accepted(desk, 5)) == {"accepted": 5}
    await desk.accept()
    assert desk.store.broken is None
    vfs.faults.clear()
    await desk.store.close()
    assert (await (await open_desk()).store.counts()).by_work[Work.QUEUED] == 6


# -- errors of input and output


@pytest.mark.parametrize(("what", "code"), WRITING)
async def test_a_failed_write_or_sync_is_never_acknowledged_and_ends_the_store(
    open_desk, vfs: FaultVfs, what: str, code: int
) -> None:
    told: list[StoreError] = []
    desk = await open_desk(vfs=vfs.name, on_broken=told.append)
    kept = await desk.accept()
    vfs.faults.append(Fault(input_output(code), on(what, "-wal"), times=1))
    news = [letter(desk.clock) for _ in range(3)]
    outcomes = await asyncio.gather(*(desk.store.accept(new) for new in news), return_exceptions=True)
    assert set(reasons(outcomes)) == {"commit-uncertain"}  # type: ignore[arg-type]
    assert desk.store.broken is not None
    # The disk would work again; nothing is built on it all the same.
    assert reasons(await accepted(desk, 3)) == {"storage-unavailable": 3}
    assert await desk.store.probe() == "storage-unavailable"
    assert [each.reason for each in told] == ["storage-unavailable"]
    assert (await desk.view(kept)).work is Work.QUEUED
    await desk.store.close()
    again = await open_desk()
    assert await again.store.check() == ()
    assert (await again.view(kept)).work is Work.QUEUED
    await again.accept()


@pytest.mark.parametrize("error", [full, input_output(apsw.SQLITE_IOERR_WRITE)])
@pytest.mark.parametrize("what", ["write", "sync"])
async def test_wherever_the_disk_fails_what_was_told_is_true(
    open_desk, vfs: FaultVfs, tmp_path: Path, what: str, error: Callable[[], Exception]
) -> None:
    """The same small journey, failing at each write or sync in turn, and then a new start."""
    for skip in itertools.count(0, 3 if what == "write" else 1):
        path = tmp_path / f"{skip}.db"
        desk = await open_desk(path, vfs=vfs.name)
        fault = Fault(error, on(what), skip=skip, times=1)
        vfs.faults[:] = [fault]
        told: list[tuple[str, Result]] = []
        with suppress(StoreError):
            for _ in range(2):
                new = await desk.accept()
                told.append((new.id, Result.PENDING))
                claim = await desk.claim()
                assert await desk.mark(claim)
                await desk.settle(claim)
                told.append((new.id, Result.SENT))
            await desk.store.erase_content(desk.clock.now(), timedelta(0), timedelta(0), 10)
        await desk.store.close()
        vfs.faults.clear()
        again = await open_desk(path)
        assert await again.store.check() == ()
        for id_, result in dict(told).items():
            view = await again.store.message(TENANT, id_)
            assert view is not None
            assert result is Result.PENDING or view.recipients[0].result is result
        await again.store.close()
        if fault.seen <= skip:
            assert len(told) == 4
            break
    assert skip > 5


async def test_a_failed_sync_of_the_main_file_ends_the_store(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    vfs.faults.append(Fault(input_output(apsw.SQLITE_IOERR_FSYNC), on("sync", ".db"), times=1))
    desk.store._writer._checkpoint_at = 0
    kept = await desk.accept()
    with pytest.raises(StoreError, match="broken until the next start"):
        await desk.accept()
    await desk.store.close()
    again = await open_desk()
    assert (await again.view(kept)).work is Work.QUEUED


async def test_the_next_start_writes_and_syncs_all_of_the_log_anew(open_desk, vfs: FaultVfs) -> None:
    """Nothing rests on pages that a failed sync left in memory marked as clean."""
    desk = await open_desk(vfs=vfs.name)
    news = [await desk.accept() for _ in range(3)]
    vfs.faults.append(Fault(input_output(apsw.SQLITE_IOERR_FSYNC), on("sync", "-wal"), times=1))
    await accepted(desk, 1)
    await desk.store.close()
    before = len(vfs.operations)
    desk = await open_desk(vfs=vfs.name)
    later = [each for each in vfs.operations[before:] if not each.is_log]
    written = b"".join(each.data for each in later if each.data and not each.is_sync)
    assert all(new.id.encode() in written for new in news)
    assert later[-1].is_sync
    assert desk.path.with_name("postroom.db-wal").stat().st_size == 0 or any(vfs.syncs(before))


async def test_a_sector_that_cannot_be_read_fails_the_reader_alone(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    new = await desk.accept()
    await desk.store.close()
    desk = await open_desk(vfs=vfs.name)
    vfs.faults.append(Fault(input_output(apsw.SQLITE_IOERR_READ), on("read", ".db"), times=1))
    with pytest.raises(StoreError) as caught:
        await desk.store.message(TENANT, new.id)
    assert caught.value.reason == "storage-unavailable"
    assert (await desk.view(new)).id == new.id
    await desk.accept()


async def test_errors_that_many_callers_get_are_their_own(open_desk, vfs: FaultVfs) -> None:
    desk = await open_desk(vfs=vfs.name)
    vfs.faults.append(Fault(input_output(apsw.SQLITE_IOERR_WRITE), on("write", "-wal")))
    outcomes = await accepted(desk, 5) + await accepted(desk, 5)
    assert len({id(each) for each in outcomes}) == 10


async def test_a_writer_that_fails_outside_of_a_job_leaves_nobody_waiting(open_desk) -> None:
    def reach(point: str) -> None:
        if point == "accept-after-commit":
            raise RuntimeError("unforeseen")

    desk = await open_desk(reach=reach)
    with pytest.raises(StoreError) as caught:
        await desk.accept()
    assert caught.value.reason == "commit-uncertain"
    assert await desk.store.probe() == "storage-unavailable"


async def test_the_points_of_the_journey_are_reached_in_order(open_desk) -> None:
    points: list[str] = []
    desk = await open_desk(reach=points.append)
    await desk.accept()
    await desk.send(await desk.claim())
    assert points == [
        f"{kind}-{when}-commit" for kind in ("accept", "pick", "mark", "settle") for when in ("before", "after")
    ]
