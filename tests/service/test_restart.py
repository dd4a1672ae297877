"""A wall clock that jumps by an hour, in the process and across a restart: no window opens early, no mail stands still.

Real processes; the server counts. Restarts at the usual pace of time are in tests/crash.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.crash.pacing import MESSAGES_A_MINUTE, SESSIONS, most_within
from tests.support import jumping_service
from tests.support.processes import SENDER, EmulatorProcess, ServiceProcess
from tests.support.waiting import wait_for

HOUR = 3600.0
# What an hour's jump may cost at most; how long the test takes when it costs nothing is another matter.
A_MINUTE = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    folder = tmp_path / "emulator"
    folder.mkdir()
    with EmulatorProcess(folder) as emulator:
        yield emulator


@pytest.fixture
def service_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServiceProcess]:
    # The launcher is a file of this checkout, not of an installed package.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))

    def make(emulator: EmulatorProcess, folder: Path, **settings: Any) -> ServiceProcess:
        program = (sys.executable, str(jumping_service.__file__))
        return ServiceProcess(folder, emulator.port, emulator.ca_pem, emulator.PASSWORD, program=program, **settings)

    return make


def jump(service: ServiceProcess, seconds: float) -> None:
    """Let the wall clock differ from the machine's by so much from now on; the file changes all at once."""
    fresh = service.folder / "fresh"
    fresh.write_text(str(seconds))
    fresh.rename(service.folder / jumping_service.OFFSET)


def post(service: ServiceProcess, number: int) -> str:
    letter = {"from": SENDER, "to": f"r{number}@customer.test", "subject": f"{number}", "text": "Hello"}
    with service.client() as client:
        answer = client.post("/v1/messages", json=letter)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("in_process", "across"), [(HOUR, -HOUR), (-HOUR, HOUR)], ids=["forth-back", "back-forth"])
def test_a_wall_clock_that_jumps_opens_no_window_early_and_stops_no_mail(
    tmp_path: Path,
    emulator: EmulatorProcess,
    service_to: Callable[..., ServiceProcess],
    in_process: float,
    across: float,
) -> None:
    """A full queue, a burst, a jump in the process; then a kill -9 and a jump before the next start."""
    with service_to(emulator, tmp_path, connection='profile = "exchange"') as service:
        for number in range(50):
            post(service, number)

        def accepted() -> int:
            return int(emulator.counters()["accepted"])

        wait_for(lambda: accepted() >= 20, 30)
        before = accepted()
        jump(service, in_process)
        wait_for(lambda: accepted() > before, A_MINUTE)
        service.kill()
        before = accepted()
        jump(service, in_process + across)
        service.start()
        wait_for(lambda: accepted() > before, A_MINUTE)
        before = accepted()
        late = post(service, 99)
        wait_for(lambda: accepted() > before, A_MINUTE)
        with service.client() as client:
            assert client.get(f"/v1/messages/{late}").json()["status"] == "queued"
        assert service.terminate() == 0
    moments = [datetime.fromisoformat(each["at"]).timestamp() for each in emulator.messages() if each["accepted"]]
    seen = emulator.counters()
    assert most_within(sorted(moments), 60.0) <= MESSAGES_A_MINUTE
    assert not seen["limits"]
    assert seen["max_sessions_open"] <= SESSIONS


@pytest.mark.timeout(200)
@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forth", "back"])
@pytest.mark.parametrize("restarts", [False, True], ids=["in the process", "across a restart"])
def test_a_message_that_waits_for_its_next_try_waits_as_long_as_if_the_clock_had_not_jumped(
    tmp_path: Path, emulator: EmulatorProcess, service_to: Callable[..., ServiceProcess], by: float, restarts: bool
) -> None:
    emulator.order(phase="rcpt", reply="450 4.2.1 Later", times=1)
    with service_to(emulator, tmp_path, top='[delivery]\nretry = ["8s"]\njitter = 0.0') as service:
        id_ = post(service, 1)

        def status() -> str:
            with service.client() as client:
                return str(client.get(f"/v1/messages/{id_}").json()["status"])

        wait_for(lambda: status() == "deferred", 20)
        since = time.monotonic()
        if restarts:
            service.kill()
        jump(service, by)
        if restarts:
            service.start()
        wait_for(lambda: status() == "sent", A_MINUTE)
        assert time.monotonic() - since > 6.5, "not early"
        assert service.terminate() == 0
