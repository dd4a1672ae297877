"""Retries and lifetimes: by the schedule, with jitter, at the wait that a server names, and to the second."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.mail.message import Priority
from tests.engine.stage import ADA, BOB, CYD, Fault, on_stage

SCHEDULE = [30.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 3600.0]
LATER = "451 4.7.500 Server busy"


@pytest.mark.parametrize("jitter", [0.0, 0.2])
async def test_a_message_refused_for_now_is_tried_again_by_the_schedule(jitter: float, tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="dot", reply=LATER), delivery=f"jitter = {jitter}") as stage:
        message = await stage.post()
        for number, wait in enumerate(SCHEDULE, 1):
            await stage.until(
                lambda number=number: len(stage.tries(message)) == number and stage.work(message) == "deferred"
            )
            ended = stage.tries(message)[-1].ended_at
            assert ended is not None
            due = stage.due_in(message) + stage.clock.now().timestamp() - ended
            assert wait * (1 - jitter) - 0.01 <= due <= wait * (1 + jitter) + 0.01
            await stage.advance(stage.due_in(message) + 0.01)
        assert {attempt.outcome for attempt in stage.tries(message)[:7]} == {"deferred"}
        assert stage.copies == []


async def test_waits_of_many_messages_are_spread(tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="dot", reply=LATER)) as stage:
        messages = [await stage.post() for _ in range(8)]
        await stage.until(lambda: {stage.work(message) for message in messages} == {"deferred"})
        waits = [stage.due_in(message) for message in messages]
        assert max(waits) - min(waits) > 1.0


@pytest.mark.parametrize(
    ("reply", "least"),
    [("451 4.7.0 Try again in 10 minutes", 600.0), ("450 4.2.0 Please retry after 00:03:20", 200.0)],
)
async def test_the_wait_that_a_server_names_goes_before_the_schedule(reply: str, least: float, tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="dot", reply=reply, times=1)) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.work(message) == "deferred")
        assert least - 1.0 <= stage.due_in(message) <= least + 1.0
        await stage.advance(least - 5.0)
        assert len(stage.tries(message)) == 1
        assert await stage.play(message) == "done"


async def test_only_recipients_that_still_need_it_are_tried_again(tmp_path: Path) -> None:
    faults = [
        Fault(phase="rcpt", recipient=ADA, reply="550 5.4.1 Recipient address rejected: Access denied"),
        Fault(phase="rcpt", recipient=CYD, reply="450 4.2.0 Later", times=2),
    ]
    async with on_stage(tmp_path, *faults) as stage:
        message = await stage.post(ADA, BOB, CYD)
        assert await stage.play(message) == "done"
        assert stage.copies == [("bob",), ("cyd",)]
        named = [line for line in stage.said() if line.startswith("RCPT")]
        assert [line.partition("<")[2].partition("@")[0] for line in named] == ["ada", "bob", "cyd", "cyd", "cyd"]


@pytest.mark.parametrize(
    "fault",
    [{"phase": "dot", "reply": LATER}, {"phase": "connect", "action": "close"}],
    ids=["deferred", "no connection"],
)
async def test_a_lifetime_ends_to_the_second_and_is_told_as_such(fault: dict, tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(**fault)) as stage:
        message = await stage.post(lifetime=1000.0)
        born = stage.clock.now().timestamp()
        await stage.until(lambda: stage.work(message) == "deferred" or stage.failures())
        await stage.advance(998.0 - (stage.clock.now().timestamp() - born))
        await stage.until(lambda: stage.work(message) in ("queued", "deferred"))
        assert stage.results(message)["ada"].startswith("pending")
        await stage.advance(2.0)
        await stage.until(lambda: stage.work(message) == "done")
        assert stage.results(message)["ada"].startswith("expired")
        assert stage.events(message)[-1] == "expired"
        ((at,),) = stage.rows("SELECT at FROM recipients")
        assert 999.0 < at / 1e6 - born < 1002.0
        assert stage.copies == []


async def test_a_parked_mailbox_s_mail_expires_all_the_same(tmp_path: Path) -> None:
    async with on_stage(tmp_path, password="wrong") as stage:
        message = await stage.post(lifetime=1000.0)
        await stage.until(lambda: stage.desk.parked is not None)
        await stage.advance(1001.0)
        await stage.until(lambda: stage.work(message) == "done")
        assert stage.results(message) == {"ada": "expired"}


async def test_a_432_lowers_the_sessions_by_one_for_ten_minutes(tmp_path: Path) -> None:
    narrowing = Fault(phase="dot", reply="432 4.3.2 Concurrent connections limit exceeded.", attempt=2)
    async with on_stage(tmp_path, narrowing) as stage:
        await stage.play(await stage.post())  # a sender that has never succeeded is given one session only
        refused = await stage.post()
        await stage.until(lambda: stage.work(refused) == "deferred")
        assert stage.desk.session_limit(stage.clock.boot()) == 2
        stage.emulator.state.latency["dot"] = 5.0
        for _ in range(6):
            await stage.post()
        await stage.until(lambda: stage.desk.sessions.busy == 2)
        assert stage.emulator.counters.max_sessions_open == 2
        for _ in range(30):
            await stage.advance(6.0)
        stage.emulator.state.latency.clear()
        await stage.advance(600.0)
        assert stage.desk.session_limit(stage.clock.boot()) == 3
        stage.emulator.state.latency["dot"] = 5.0
        for _ in range(6):
            await stage.post()
        await stage.until(lambda: stage.desk.sessions.busy == 3)
        assert stage.emulator.counters.limits["concurrency"] == 0


async def test_ordinary_mail_stops_before_the_day_is_full_and_urgent_mail_may_use_all_of_it(tmp_path: Path) -> None:
    async with on_stage(tmp_path) as stage:
        stage.configuration = stage.configuration.replace("recipients_per_day = 10000", "recipients_per_day = 20")
        await stage.crash_and_restart()
        for priority, taken in ((Priority.BULK, 18), (Priority.NORMAL, 19), (Priority.URGENT, 20)):
            for _ in range(21):
                await stage.post(priority=priority)
            for _ in range(25):  # two minutes, so that it is the day and not the minute that holds them
                await stage.advance(5.0)
            await stage.until(lambda: not stage.desk.workers)
            assert len(stage.copies) == taken
        await stage.crash_and_restart()
        await stage.advance(60.0)
        assert len(stage.copies) == 20
