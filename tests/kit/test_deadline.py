"""A deadline ends what takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from app.kit.deadline import Deadline


async def test_what_takes_too_long_ends_with_a_timeout() -> None:
    """And the task is as good as before."""
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.sleep(10)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_what_is_done_in_time_is_left_alone(seconds: float) -> None:
    """Also afterwards, and 0 is no limit."""
    with Deadline(seconds):
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.03)


async def test_who_is_cancelled_from_outside_stays_cancelled() -> None:
    """Whether the time is over by then or not."""

    async def wait(seconds: float) -> None:
        with Deadline(seconds):
            await asyncio.sleep(10)

    for seconds in (10, 0.01):
        task = asyncio.create_task(wait(seconds))
        await asyncio.sleep(0)
        if seconds < 1:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_error_of_its_own_is_not_hidden() -> None:
    """It is no matter of time."""
    with pytest.raises(KeyError), Deadline(1):
        raise KeyError


async def test_the_inner_of_two_ends_first() -> None:
    """And the outer one goes on."""
    with Deadline(5):
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.sleep(10)
        await asyncio.sleep(0)
