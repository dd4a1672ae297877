"""A wall clock that jumps by an hour, either way, in the process or across a restart: no window opens early, and the
mail stands still for no longer than a minute.

The emulator counts by a clock of its own, which does not jump; what it counted is the judge.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.emulator import Limits
from tests.engine.stage import Fault, Stage, on_stage

HOUR = 3600.0
UNLIMITED = Limits(messages_per_minute=0, recipients_per_day=0)
JUMPS = pytest.mark.parametrize("jump", [0.0, HOUR, -HOUR], ids=["no jump", "an hour forward", "an hour back"])
HOW = pytest.mark.parametrize("across", [False, True], ids=["in the process", "across a restart"])


async def jump_by(stage: Stage, seconds: float, *, across: bool) -> None:
    if across:
        # What a crash cuts between the dot and its record is sent twice by right, and would confuse the count.
        await stage.until(lambda: not stage.rows("SELECT 1 FROM attempts WHERE ended_at IS NULL"))
        await stage.crash_and_restart(between=lambda: stage.clock.jump_wall(seconds))
    else:
        stage.clock.jump_wall(seconds)


async def pass_time(stage: Stage, seconds: float, step: float = 1.0) -> None:
    """Let time go by in steps, with room for what happens in each."""
    for _ in range(round(seconds / step)):
        await stage.advance(step)
        for _ in range(40):
            if not stage.desk.workers and not stage.engine._settling:
                break
            await asyncio.sleep(0.003)


@JUMPS
@HOW
async def test_the_minute_s_window_never_opens_early_and_the_queue_goes_on(
    jump: float, across: bool, tmp_path: Path
) -> None:
    async with on_stage(tmp_path, limits=UNLIMITED) as stage:
        for _ in range(45):
            await stage.post()
        await stage.until(lambda: len(stage.copies) >= 20, "the burst has gone")
        await pass_time(stage, 10)
        await jump_by(stage, jump, across=across)
        await pass_time(stage, 60, step=2)
        within_a_minute = len(stage.copies)
        await pass_time(stage, 60, step=2)
        login = stage.emulator.counters.login("noreply@contoso.test")
        assert login.max_accepted_per_minute <= 30
        assert within_a_minute > 22  # it did not stand still
        assert len(stage.copies) == 45


@JUMPS
@HOW
async def test_mail_that_comes_after_the_jump_goes_at_once(jump: float, across: bool, tmp_path: Path) -> None:
    async with on_stage(tmp_path, limits=UNLIMITED) as stage:
        await stage.play(await stage.post())
        await jump_by(stage, jump, across=across)
        message = await stage.post()
        await pass_time(stage, 3)
        assert stage.work(message) == "done"


@HOW
async def test_a_wait_of_the_schedule_is_not_stretched_by_a_jump_back(across: bool, tmp_path: Path) -> None:
    later = Fault(phase="dot", reply="451 4.7.500 Server busy", times=1)
    async with on_stage(tmp_path, later, limits=UNLIMITED) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.work(message) == "deferred")
        await jump_by(stage, -HOUR, across=across)
        # 30 s and their jitter, and the minute within which a jump must be noticed.
        await pass_time(stage, 36 + 60)
        assert stage.work(message) == "done"


@HOW
async def test_mail_that_was_due_before_a_jump_back_goes_within_a_minute(across: bool, tmp_path: Path) -> None:
    closed = Fault(phase="connect", action="close", times=2)
    async with on_stage(tmp_path, closed, limits=UNLIMITED) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.failures())
        await jump_by(stage, -HOUR, across=across)
        await pass_time(stage, 60)
        assert stage.work(message) == "done"


@HOW
async def test_a_wait_is_not_cut_short_by_a_jump_forward(across: bool, tmp_path: Path) -> None:
    later = Fault(phase="dot", reply="451 4.7.0 Try again in 10 minutes", times=1)
    async with on_stage(tmp_path, later, limits=UNLIMITED) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.work(message) == "deferred")
        await pass_time(stage, 3)
        await jump_by(stage, HOUR, across=across)
        await pass_time(stage, 3)
        await pass_time(stage, 500, step=20)
        assert len(stage.tries(message)) == 1
        await pass_time(stage, 200, step=20)
        assert stage.work(message) == "done"


async def test_a_wait_is_not_cut_short_by_a_jump_forward_while_other_mail_comes_in(tmp_path: Path) -> None:
    later = Fault(phase="dot", reply="451 4.7.0 Try again in 10 minutes", times=1)
    async with on_stage(tmp_path, later, limits=UNLIMITED) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.work(message) == "deferred")
        await pass_time(stage, 3)
        await jump_by(stage, HOUR, across=False)
        other = await stage.post()
        await stage.until(lambda: stage.work(other) == "done")
        await stage.until(lambda: not stage.desk.workers)
        assert len(stage.tries(message)) == 1


@HOW
async def test_a_parked_mailbox_s_probe_is_not_an_hour_late_after_a_jump_back(across: bool, tmp_path: Path) -> None:
    # A wording for which even a password is shown again after a while (the switch is off; the password may be right).
    off = Fault(phase="auth", reply="535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
                "the Mailbox.", times=1)  # fmt: skip
    async with on_stage(tmp_path, off, limits=UNLIMITED) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.desk.parked is not None)
        await jump_by(stage, -HOUR, across=across)
        await pass_time(stage, 900 + 60, step=20)
        await pass_time(stage, 5)
        assert stage.desk.parked is None
        assert stage.work(message) == "done"


@JUMPS
@HOW
async def test_the_day_s_window_never_opens_early_and_opens_in_time(jump: float, across: bool, tmp_path: Path) -> None:
    async with on_stage(tmp_path, limits=UNLIMITED) as stage:
        stage.configuration = stage.configuration.replace("recipients_per_day = 10000", "recipients_per_day = 10")
        await stage.crash_and_restart()
        for _ in range(12):
            await stage.post()
        # Nine of ten: ordinary mail stops at 95 % of the day.
        await stage.until(lambda: len(stage.copies) == 9)
        await jump_by(stage, jump, across=across)
        await pass_time(stage, 23.5 * HOUR, step=HOUR / 2)
        assert len(stage.copies) == 9
        await pass_time(stage, 0.6 * HOUR, step=120)
        assert len(stage.copies) == 12
