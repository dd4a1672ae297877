"""Sessions and sign-ins: an idle end costs no attempt, one wrong password is one failure, trouble parks nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.emulator import Limits
from tests.engine.stage import PASSWORD, Action, Fault, on_stage


@pytest.mark.parametrize("how", [Action.CLOSE, Action.DROP, Action.TRUNCATE_TLS])
async def test_an_idle_session_that_the_server_ends_costs_no_attempt(how: Action, tmp_path: Path) -> None:
    async with on_stage(tmp_path) as stage:
        await stage.play(await stage.post())
        assert await stage.emulator.cut_sessions(how) == 1
        await stage.until(lambda: stage.desk.sessions.open == 0, "its end is noticed")
        message = await stage.post()
        await stage.play(message)
        assert [attempt.outcome for attempt in stage.tries(message)] == ["sent"]
        assert stage.sessions == 2


@pytest.mark.parametrize(
    ("limits", "words"), [(Limits(idle=60.0), "idle"), (Limits(age=60.0), "age")], ids=["idle", "age"]
)
async def test_a_server_s_goodbye_to_an_idle_session_costs_no_attempt(
    limits: Limits, words: str, tmp_path: Path
) -> None:
    async with on_stage(tmp_path, limits=limits) as stage:
        await stage.play(await stage.post())
        await stage.advance(61.0)
        await stage.until(lambda: stage.desk.sessions.open == 0, "the goodbye is noticed")
        message = await stage.post()
        await stage.play(message)
        assert [attempt.outcome for attempt in stage.tries(message)] == ["sent"]


async def test_our_own_sessions_are_ended_with_quit_before_the_server_would_cut_them(tmp_path: Path) -> None:
    async with on_stage(tmp_path) as stage:
        await stage.play(await stage.post())
        await stage.advance(241.0)
        await stage.until(lambda: "QUIT" in stage.said(1))
        assert stage.desk.sessions.open == 0


@pytest.mark.parametrize("action", ["close", "drop"])
async def test_a_goodbye_that_crosses_our_first_command_is_an_attempt_that_does_not_count(
    action: str, tmp_path: Path
) -> None:
    crossing = Fault(phase="rset", action=action, attempt=2)
    async with on_stage(tmp_path, crossing) as stage:
        await stage.play(await stage.post())
        message = await stage.post()
        await stage.play(message)
        found = [(attempt.outcome, attempt.counted) for attempt in stage.tries(message)]
        assert found == [("aborted", False), ("sent", True)]
        assert stage.events(message) == ["accepted", "attempted", "sent"]
        assert stage.failures() == {}


async def test_one_wrong_password_is_one_failure_however_much_mail_waits(tmp_path: Path) -> None:
    async with on_stage(tmp_path, password="wrong") as stage:
        messages = [await stage.post() for _ in range(10)]
        await stage.until(lambda: stage.desk.parked is not None)
        await stage.advance(3600.0)
        await stage.advance(86_400.0 - 3600.0)
        assert stage.emulator.counters.auth_failed == 1
        assert {stage.work(message) for message in messages} == {"queued"}
        assert not any(stage.tries(message) for message in messages)
        assert stage.failures() == {}
        outlook = stage.sending.forecaster.outlook("demo", "noreply@contoso.test", 1, stage.clock.now())
        assert outlook.code == "mailbox-parked"
        assert "password" in (outlook.text or "")


async def test_one_wrong_password_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with on_stage(tmp_path, password="wrong") as stage:
        for _ in range(10):
            await stage.post(due_in=1.0)
        await stage.advance(1.1)
        await stage.until(lambda: stage.desk.parked is not None and not stage.desk.workers)
        assert capsys.readouterr().out.count("mailbox parked") == 1


async def test_a_mailbox_stays_parked_over_a_restart_and_a_changed_password_releases_it(tmp_path: Path) -> None:
    async with on_stage(tmp_path, password="wrong") as stage:
        message = await stage.post()
        await stage.until(lambda: stage.desk.parked is not None)
        await stage.crash_and_restart()
        await stage.advance(60.0)
        assert stage.desk.parked is not None
        assert stage.emulator.counters.auth_failed == 1
        stage.configuration = stage.configuration.replace("wrong", PASSWORD)
        await stage.crash_and_restart()
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": "sent 250 2.0.0"}


@pytest.mark.parametrize("reply", ["454 4.7.0 Temporary authentication failure", "421 4.3.2 Service not active"])
async def test_a_passing_failure_of_the_sign_in_never_parks(reply: str, tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="auth", reply=reply, times=6)) as stage:
        messages = [await stage.post() for _ in range(3)]
        for message in messages:
            await stage.play(message)
        assert stage.desk.parked is None
        assert set(stage.failures()) == {"reply"}
        assert [len(stage.tries(message)) for message in messages] == [1, 1, 1]


async def test_sign_ins_run_one_at_a_time_until_one_has_succeeded(tmp_path: Path) -> None:
    slow = Fault(phase="auth", action="stall", seconds=5.0, times=1)
    async with on_stage(tmp_path, slow) as stage:
        messages = [await stage.post() for _ in range(6)]
        await stage.struck()
        assert stage.sessions == 1
        await stage.advance(6.0)
        for message in messages:
            await stage.play(message)
        assert stage.sessions <= 3


async def test_a_refused_connection_is_knocked_at_after_1_2_4_up_to_60_seconds(tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="connect", action="close")) as stage:
        message = await stage.post()
        waits = []
        for knock in range(9):
            await stage.until(lambda knock=knock: stage.failures().get("closed") == knock + 1)
            assert stage.desk.trouble is not None
            waits.append(round(stage.desk.trouble.retry_at - stage.clock.boot()))
            await stage.advance(stage.desk.trouble.retry_at - stage.clock.boot() + 0.01)
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert stage.tries(message) == []
        assert stage.work(message) == "queued"


async def test_one_refused_connection_is_one_failure_however_much_mail_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with on_stage(tmp_path, Fault(phase="connect", action="close")) as stage:
        for _ in range(10):
            await stage.post(due_in=1.0)
        await stage.advance(1.1)
        waits = []
        for knock in range(4):
            await stage.until(lambda knock=knock: stage.sessions == knock + 1 and not stage.desk.workers)
            assert stage.desk.trouble is not None
            waits.append(round(stage.desk.trouble.retry_at - stage.clock.boot()))
            await stage.advance(stage.desk.trouble.retry_at - stage.clock.boot() + 0.01)
        assert waits == [1, 2, 4, 8]
        await stage.until(lambda: stage.sessions == 5 and not stage.desk.workers)
        assert stage.failures() == {"closed": 5.0}
        assert capsys.readouterr().out.count("connect failed") == 5


async def test_three_cuts_in_a_row_are_trouble_of_the_connection_and_hurry_nobody(tmp_path: Path) -> None:
    async with on_stage(tmp_path, Fault(phase="mail", action="close")) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.desk.trouble is not None)
        assert stage.failures()["closed"] >= 1
        assert all(not attempt.counted for attempt in stage.tries(message))
        stage.emulator.faults.clear()
        assert await stage.play(message) == "done"
