"""When room runs out: 503 that says why and when to come back, mail that goes on, and doors that open again unasked."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import SENDER, EmulatorProcess, ServiceProcess
from tests.support.waiting import ended, wait_for

MEGABYTE = 1024 * 1024
# The queue-full kind says 30 s, disk-full 60 s: docs/problems.md.
RETRY_AFTER = {"queue-full": "30", "disk-full": "60"}


def letter(number: int, octets: int = 5) -> dict[str, Any]:
    return {"from": SENDER, "to": f"r{number}@customer.test", "subject": f"{number}", "text": "x" * octets}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB, as the folder ``disk`` where the service's file is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "postroom-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Put a file there that leaves so many octets free, whatever others write meanwhile."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while (status := os.statvfs(disk)).f_bavail * status.f_frsize > leave:
            file.write(bytes(4096))
    return filler


def service_to(emulator: EmulatorProcess, folder: Path, **store: object) -> ServiceProcess:
    top = '[delivery]\nretry = ["1s"]'
    return ServiceProcess(folder, emulator.port, emulator.ca_pem, emulator.PASSWORD, store=store, top=top)


def sent_all(client: httpx.Client, emulator: EmulatorProcess, ids: list[str]) -> None:
    """Wait until all is sent; each must have arrived, and nothing twice."""
    views = [ended(client, id_) for id_ in ids]
    assert {view["status"] for view in views} == {"sent"}
    message_ids = [view["message_id"] for view in views]
    assert sorted(message_ids) == sorted(each["message_id"] for each in emulator.messages() if each["accepted"])


def refused(answer: httpx.Response, kind: str) -> bool:
    """Whether an answer is the refusal of this kind; it says when to come back."""
    if answer.status_code == 202:
        return False
    problem = answer.json()
    assert (answer.status_code, problem["type"].rpartition("#")[2].rpartition("/")[2]) == (503, kind), answer.text
    assert answer.headers["retry-after"] == RETRY_AFTER[kind]
    return True


def test_a_full_queue_is_told_and_mail_goes_on_and_accepting_resumes_by_itself(
    tmp_path: Path, emulator: EmulatorProcess
) -> None:
    emulator.slow_down(dot=0.7)
    with service_to(emulator, tmp_path, queue_limit=8) as service, service.client() as client:
        accepted: list[str] = []
        numbers = iter(range(10_000))

        def offer() -> bool:
            answer = client.post("/v1/messages", json=letter(next(numbers)))
            if refused(answer, "queue-full"):
                return True
            accepted.append(answer.json()["id"])
            return False

        wait_for(offer)
        wait_for(lambda: offer() and service.readiness() == (503, "queue-full"))
        assert client.get("/livez").status_code == 200
        before = emulator.counters()["accepted"]
        wait_for(lambda: offer() and emulator.counters()["accepted"] >= before + 6)
        assert client.get(f"/v1/messages/{accepted[0]}").json()["status"] == "sent"
        wait_for(lambda: service.readiness() == (200, "ok"))
        assert not offer()
        sent_all(client, emulator, accepted)


@pytest.mark.programs
def test_below_the_disk_floor_nothing_is_accepted_and_mail_goes_on_and_accepting_resumes_by_itself(
    tmp_path: Path, emulator: EmulatorProcess, small_disk: Path
) -> None:
    emulator.order(phase="connect", reply="421 4.3.2 Service not active")
    store = {"url": "sqlite:///disk/postroom.db", "disk_floor": "6MB"}
    with service_to(emulator, tmp_path, **store) as service, service.client() as client:
        accepted = [client.post("/v1/messages", json=letter(number)).json()["id"] for number in range(5)]
        filler = fill(small_disk, 4 * MEGABYTE)

        def offer() -> bool:
            answer = client.post("/v1/messages", json=letter(9))
            if refused(answer, "disk-full"):
                return True
            accepted.append(answer.json()["id"])
            return False

        wait_for(offer, 5)
        wait_for(lambda: service.readiness() == (503, "disk-full"))
        assert client.get("/livez").status_code == 200
        waiting = client.get(f"/v1/messages/{accepted[0]}").json()
        assert waiting["status"] == "queued"
        emulator.clear_faults()
        sent_all(client, emulator, accepted)
        assert offer()
        filler.unlink()
        wait_for(lambda: service.readiness() == (200, "ok"))
        assert not offer()
        sent_all(client, emulator, accepted)


@pytest.mark.programs
def test_a_disk_that_is_full_loses_nothing_ends_nothing_and_is_told_and_all_goes_on_when_there_is_room(
    tmp_path: Path, emulator: EmulatorProcess, small_disk: Path
) -> None:
    """No floor warns here: writes fail in the middle of the work, marks and outcomes too."""
    emulator.slow_down(dot=0.05)
    store = {"url": "sqlite:///disk/postroom.db", "disk_floor": 0}
    with service_to(emulator, tmp_path, **store) as service, service.client() as client:
        accepted: list[str] = []
        numbers = iter(range(10_000))

        def offer() -> bool:
            answer = client.post("/v1/messages", json=letter(next(numbers), 20_000))
            if refused(answer, "disk-full"):
                return True
            accepted.append(answer.json()["id"])
            return False

        for _ in range(20):
            assert not offer()
        filler = fill(small_disk, 0)
        wait_for(offer)
        wait_for(lambda: service.readiness() == (503, "disk-full"))
        for _ in range(10):
            offer()
        time.sleep(0.3)
        assert service.exit_code is None
        assert client.get("/livez").status_code == 200
        filler.unlink()
        wait_for(lambda: service.readiness() == (200, "ok"))
        assert not offer()
        sent_all(client, emulator, accepted)
        assert service.terminate() == 0
