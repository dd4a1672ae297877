"""The doctor as an operator calls it: of a running service over HTTP, at rest under the store's lock."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from app.emulator import Account, Emulator
from tests.support.processes import POSTROOM, SENDER, ServiceProcess

PASSWORD = "correct-horse-battery"
RECIPIENT = "ada@customer.test"
LETTER = {"from": SENDER, "to": "bob@customer.test", "subject": "It waits", "text": "until somebody serves."}


def doctor(service: ServiceProcess, *words: str, key: str = "") -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [POSTROOM, "doctor", "--json", *words, "--config", str(service.file)],
        capture_output=True,
        text=True,
        env={**os.environ, "POSTROOM_ADMIN_KEY": key},
    )
    checks = json.loads(done.stdout)["checks"] if done.stdout else []
    return done.returncode, checks, done.stderr


def status(checks: list[dict[str, Any]], name: str) -> str:
    return [check["status"] for check in checks if check["name"] == name][-1]


def with_operator(service: ServiceProcess) -> str:
    """Give the service an operator's key; return it."""
    made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
    key, line = made.stdout.splitlines()
    service.file.write_text(service.file.read_text().replace("[server]", f"[server]\nadmin_keys = [{line}]"))
    return key


async def test_a_running_service_is_asked_and_counts_what_the_doctor_sends(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, PASSWORD)]) as emulator:

        def story() -> None:
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, PASSWORD)
            key = with_operator(service)
            with service:
                code, checks, _ = doctor(service, "--send-to", RECIPIENT, key=key)
                assert code == 0, checks
                assert (status(checks, "auth"), status(checks, "send")) == ("ok", "ok")
                code, checks, _ = doctor(service, "noreply", key=key)
                budgets = next(check for check in checks if check["name"] == "budgets")
                assert "1 recipient (no limit)" in budgets["got"]
                code, checks, told = doctor(service)
                assert (code, checks) == (1, [])
                assert "POSTROOM_ADMIN_KEY" in told
                with service.client() as client:  # the doctor's mail stands in no tenant's list
                    assert client.get("/v1/messages").json()["data"] == []
                assert service.terminate() == 0
                assert PASSWORD not in service.log()

        await asyncio.to_thread(story)
        assert [message.rcpt_tos for message in emulator.accepted] == [(RECIPIENT,)]


async def test_at_rest_the_doctor_sends_its_own_mail_and_leaves_what_waits_alone(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, PASSWORD)]) as emulator:

        def story() -> None:
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, PASSWORD)
            parking = [POSTROOM, "mailbox", "park", "noreply", "--config", str(service.file)]
            assert subprocess.run(parking, check=False).returncode == 0
            with service, service.client() as client:
                assert client.post("/v1/messages", json=LETTER).status_code == 202
                assert service.terminate() == 0
            code, checks, _ = doctor(service, "noreply", "--send-to", RECIPIENT)
            assert code == 0
            assert (status(checks, "auth"), status(checks, "send")) == ("skipped", "skipped")
            parking[2] = "resume"
            assert subprocess.run(parking, check=False).returncode == 0
            code, checks, _ = doctor(service, "noreply", "--send-to", RECIPIENT)
            assert (code, status(checks, "send")) == (0, "ok"), checks

        await asyncio.to_thread(story)
        assert [message.rcpt_tos for message in emulator.accepted] == [(RECIPIENT,)]


async def test_a_wrong_password_fails_the_command_and_parks_the_mailbox_for_the_service(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "another")]) as emulator:

        def story() -> None:
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, PASSWORD)
            code, checks, told = doctor(service)
            assert (code, status(checks, "auth")) == (1, "fail")
            assert PASSWORD not in json.dumps(checks) + told
            with service:
                assert "mailbox parked" in service.log()

        await asyncio.to_thread(story)
        assert emulator.counters.auth_failed == 1
