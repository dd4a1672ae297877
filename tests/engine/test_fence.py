"""The mark is the fence: what is canceled or over before it gets no dot, what comes after it cannot be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.stage import Fault, on_stage
from tests.engine.stories import check_always

LARGE = 12_000_000
# The last moment before the mark, once for content that is committed whole and once for content that is streamed.
SMALL_AT_DATA = (0, Fault(phase="data", action="stall", seconds=20.0, times=1))
LARGE_AMID = (LARGE, Fault(phase="content", action="stall", seconds=20.0, octets=300_000, times=1))
ONE_AT_A_TIME = "pipelining = false"  # where commands are pipelined, a small message is marked during the first flight


def fresh(fault: Fault) -> Fault:
    return Fault(phase=fault.phase, action=fault.action, seconds=fault.seconds, octets=fault.octets, times=1)


@pytest.mark.parametrize(("octets", "fault"), [SMALL_AT_DATA, LARGE_AMID], ids=["small", "streamed"])
async def test_what_is_canceled_between_pick_and_mark_never_gets_its_dot(
    octets: int, fault: Fault, tmp_path: Path
) -> None:
    async with on_stage(tmp_path, fresh(fault), connection=ONE_AT_A_TIME) as stage:
        message = await stage.post(octets=octets)
        await stage.struck()
        change = await stage.store.cancel("demo", message, stage.clock.now())
        assert change is not None
        assert change.done
        await stage.advance(21.0)
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": "canceled"}
        (attempt,) = stage.tries(message)
        assert (attempt.outcome, attempt.counted, attempt.charged, attempt.marked) == ("aborted", False, 0, False)
        assert stage.events(message) == ["accepted", "canceled"]
        assert (stage.dots, stage.copies) == (0, [])
        check_always(stage)


@pytest.mark.parametrize(("octets", "fault"), [SMALL_AT_DATA, LARGE_AMID], ids=["small", "streamed"])
async def test_what_expires_between_pick_and_mark_never_gets_its_dot(octets: int, fault: Fault, tmp_path: Path) -> None:
    async with on_stage(tmp_path, fresh(fault), connection=ONE_AT_A_TIME) as stage:
        message = await stage.post(octets=octets, lifetime=10.0)
        await stage.struck()
        await stage.advance(21.0)
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": "expired"}
        (attempt,) = stage.tries(message)
        assert (attempt.outcome, attempt.counted, attempt.charged, attempt.marked) == ("aborted", False, 0, False)
        assert stage.events(message) == ["accepted", "expired"]
        assert (stage.dots, stage.copies) == (0, [])
        check_always(stage)


async def test_a_cancel_that_comes_after_the_mark_says_that_it_lost(tmp_path: Path) -> None:
    stall = Fault(phase="dot", action="stall", seconds=20.0, times=1)
    async with on_stage(tmp_path, stall) as stage:
        message = await stage.post()
        await stage.struck()
        change = await stage.store.cancel("demo", message, stage.clock.now())
        assert change is not None
        assert not change.done
        await stage.advance(21.0)
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": "sent 250 2.0.0"}
        assert stage.copies == [("ada",)]


async def test_what_was_marked_in_time_is_sent_though_its_time_ends_before_the_answer(tmp_path: Path) -> None:
    stall = Fault(phase="dot", action="stall", seconds=20.0, times=1)
    async with on_stage(tmp_path, stall) as stage:
        message = await stage.post(lifetime=10.0)
        await stage.struck()
        await stage.advance(21.0)
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": "sent 250 2.0.0"}
        assert stage.events(message) == ["accepted", "attempted", "sent"]


async def test_an_unknown_that_expires_while_it_waits_for_its_second_try_stays_unknown(tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="dot", action="drop-after-dot", times=1)) as stage:
        message = await stage.post(lifetime=10.0)
        await stage.until(lambda: stage.work(message) == "deferred")
        await stage.advance(11.0)
        await stage.until(lambda: stage.work(message) == "done")
        assert len(stage.copies) == 1
        # Nobody may say "expired" of what the next hop may have taken.
        assert stage.results(message) == {"ada": "unknown"}


@pytest.mark.parametrize(
    ("phase", "outcome", "results"), [("data", "aborted", "sent 250 2.0.0"), ("dot", "unknown", "sent 250 2.0.0")]
)
async def test_a_crash_is_recovered_by_what_the_mark_says(
    phase: str, outcome: str, results: str, tmp_path: Path
) -> None:
    stall = Fault(phase=phase, action="stall", times=1)
    async with on_stage(tmp_path, stall, connection=ONE_AT_A_TIME) as stage:
        message = await stage.post()
        await stage.struck()
        await stage.crash_and_restart()
        assert stage.tries(message)[0].outcome == outcome
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": results}
        counted = [attempt.counted for attempt in stage.tries(message)]
        assert counted == [outcome == "unknown", True]
        check_always(stage)
