"""The clock of the tests keeps its own promises."""

import asyncio
from datetime import timedelta

import pytest

from app.kit.clock import Clock
from tests.support.manual_clock import NOON, ManualClock


def test_it_is_a_clock() -> None:
    clock: Clock = ManualClock()
    assert (clock.boot_id, clock.now(), clock.boot()) == ("manual-boot", NOON, 1000.0)


async def test_sleepers_wake_in_the_order_of_their_deadlines_each_at_its_own_instant() -> None:
    clock, seen = ManualClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append((seconds, clock.boot() - 1000))

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2, 9)]
    await clock.advance(5)
    assert seen == [(1, 1), (2, 2), (3, 3)]
    assert clock.sleepers == 1
    assert clock.next_wake == 1009
    await clock.advance(4)
    await asyncio.gather(*tasks)


async def test_what_a_sleeper_sleeps_next_happens_within_the_same_advance() -> None:
    clock, ticks = ManualClock(), []

    async def ticker() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.now() - NOON)

    task = asyncio.create_task(ticker())
    await clock.advance(35)
    assert ticks == [timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=30)]
    task.cancel()


async def test_a_wait_ends_by_its_event_or_by_its_time() -> None:
    clock, event = ManualClock(), asyncio.Event()
    late = asyncio.create_task(clock.wait(event, 5))
    await clock.advance(5)
    assert await late is False
    rung = asyncio.create_task(clock.wait(event, 5))
    for_ever = asyncio.create_task(clock.wait(event, None))
    await clock.advance(1)
    event.set()
    await clock.settle()
    assert await rung is True
    assert await for_ever is True
    assert clock.sleepers == 0
    assert await clock.wait(event, 0) is True


async def test_a_jump_moves_the_wall_clock_alone() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(60))
    await clock.settle()
    clock.jump_wall(-7200)
    await clock.settle()
    assert (clock.now(), clock.boot(), task.done()) == (NOON - timedelta(hours=2), 1000.0, False)
    await clock.advance(60)
    await task


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(60))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0
