"""The end that an operator asks for: SIGTERM, a service that works, and nothing that is lost or cut without need."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.crash.letters import POLICIES, Book
from tests.crash.load import Callers
from tests.support.processes import SENDER, EmulatorProcess, ServiceProcess
from tests.support.waiting import ended, wait_for

LETTER = {"from": SENDER, "to": "ada@customer.test", "subject": "Hello", "text": "Hello"}


def service_to(emulator: EmulatorProcess, folder: Path, **settings: Any) -> ServiceProcess:
    return ServiceProcess(
        folder, emulator.port, emulator.ca_pem, emulator.PASSWORD, **{"top": '[delivery]\nretry = ["1s"]', **settings}
    )


def stalled(emulator: EmulatorProcess) -> bool:
    return any(fault["fired"] for fault in emulator.faults())


def test_under_load_sigterm_cuts_no_transaction_says_quit_on_each_session_and_exits_0(
    tmp_path: Path, emulator: EmulatorProcess
) -> None:
    """What was accepted and not yet sent goes after the next start; nothing is unknown, nothing arrives twice."""
    emulator.slow_down(dot=0.05)
    emulator.order(phase="quit", reply="221 2.0.0 Bye")
    book = Book()
    tenants = {policy: f'on_unknown = "{policy}"' for policy in POLICIES}
    with service_to(emulator, tmp_path, tenants=tenants, server={"drain_delay": "1s"}) as service:
        with Callers(service, book, seed=1):
            for _ in range(2):
                time.sleep(1.0)
                assert service.terminate() == 0, service.log()[-2000:]
                seen, (fault,) = emulator.counters(), emulator.faults()
                assert seen["sessions_open"] == 0
                assert fault["fired"] == seen["sessions_opened"] > 0
                service.start()
        views = []
        for policy in POLICIES:
            with service.client(policy) as client:
                views += [ended(client, letter.id) for letter in book.letters if letter.policy == policy and letter.id]
    assert not book.faults
    assert len(views) == len(book.letters) > 20
    assert {view["status"] for view in views} == {"sent"}
    assert {tuple(each["outcome"] for each in view["attempts"]) for view in views} == {("sent",)}
    arrived = Counter(each["message_id"] for each in emulator.messages())
    assert arrived == Counter(view["message_id"] for view in views)


def test_while_drain_delay_lasts_readyz_is_503_and_a_post_is_accepted_and_a_second_sigterm_ends_the_delay(
    tmp_path: Path, emulator: EmulatorProcess
) -> None:
    with service_to(emulator, tmp_path, server={"drain_delay": "25s"}) as service:
        service.signal(signal.SIGTERM)
        wait_for(lambda: service.readiness() == (503, "draining"))
        with service.client() as client:
            answers = [client.post("/v1/messages", json=LETTER) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [202] * 3
            assert client.get("/livez").status_code == 200
            views = [ended(client, answer.json()["id"]) for answer in answers]
            assert {view["status"] for view in views} == {"sent"}, "mail goes on while the delay lasts"
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        assert service.wait(20) == 0
        assert time.monotonic() - began < 15


def test_the_delay_ends_by_itself(tmp_path: Path, emulator: EmulatorProcess) -> None:
    with service_to(emulator, tmp_path, server={"drain_delay": "1s"}) as service:
        began = time.monotonic()
        assert service.terminate() == 0
        assert time.monotonic() - began >= 1.0


def test_a_transaction_that_ends_within_drain_timeout_is_waited_for(tmp_path: Path, emulator: EmulatorProcess) -> None:
    emulator.order(phase="dot", action="late-reply", seconds=2.0, times=1)
    with service_to(emulator, tmp_path) as service:
        with service.client() as client:
            id_ = client.post("/v1/messages", json=LETTER).json()["id"]
            wait_for(lambda: stalled(emulator))
        assert service.terminate() == 0
        service.start()
        with service.client() as client:
            view = client.get(f"/v1/messages/{id_}").json()
    assert (view["status"], [each["outcome"] for each in view["attempts"]]) == ("sent", ["sent"])


@pytest.mark.parametrize(
    ("phase", "outcomes", "copies"),
    [("data", ["aborted", "sent"], 1), ("dot", ["unknown", "sent"], 1)],
)
def test_a_transaction_that_outlives_drain_timeout_is_cut_and_its_message_is_not_lost(
    tmp_path: Path, emulator: EmulatorProcess, phase: str, outcomes: list[str], copies: int
) -> None:
    """Cut before the dot it is queued again as if it had not been tried; after the dot its outcome is unknown."""
    emulator.order(phase=phase, action="stall", times=1)
    with service_to(emulator, tmp_path, server={"drain_timeout": "1s"}) as service:
        with service.client() as client:
            id_ = client.post("/v1/messages", json=LETTER).json()["id"]
            wait_for(lambda: stalled(emulator))
        began = time.monotonic()
        assert service.terminate() == 0, service.log()[-2000:]
        assert 1.0 <= time.monotonic() - began < 12
        service.start()
        with service.client() as client:
            view = ended(client, id_)
    assert view["status"] == "sent"
    assert [each["outcome"] for each in view["attempts"]] == outcomes
    assert [each["message_id"] for each in emulator.messages() if each["accepted"]] == [view["message_id"]] * copies
