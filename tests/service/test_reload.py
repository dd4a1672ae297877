"""The configuration is read again while the service runs: on SIGHUP, and when a file of it changes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import SENDER, EmulatorProcess, ServiceProcess

MAIL = {"from": SENDER, "to": ["ada@customer.test"], "subject": "Hi", "text": "Hello"}


def until(holds: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


def lines(service: ServiceProcess, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def metrics(service: ServiceProcess) -> str:
    return httpx.get(f"http://127.0.0.1:{service.management}/metrics").text


@pytest.fixture
def pair(tmp_path: Path):
    with EmulatorProcess(tmp_path) as emulator:
        password = EmulatorProcess.PASSWORD
        with ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, password, connection="") as service:
            yield service, emulator


def post(service: ServiceProcess, **more: object) -> httpx.Response:
    with service.client() as client:
        return client.post("/v1/messages", json={**MAIL, **more})


def is_sent(service: ServiceProcess, message: str) -> bool:
    with service.client() as client:
        return client.get(f"/v1/messages/{message}").json()["status"] == "sent"


def test_a_changed_file_is_adopted_at_once_and_warm_sessions_stay(pair) -> None:
    service, emulator = pair
    first = post(service).json()["id"]
    until(lambda: is_sent(service, first))
    assert post(service, **{"from": "new@contoso.test"}).status_code == 403
    text = service.file.read_text()
    text = text.replace(f'senders = ["{SENDER}"]', f'senders = ["{SENDER}", "new@contoso.test"]')
    text = text.replace(f'address = "{SENDER}"', f'address = "{SENDER}"\nsend_as = ["new@contoso.test"]')
    service.file.write_text(text)
    until(lambda: lines(service, "configuration adopted"))
    second = post(service).json()["id"]
    until(lambda: is_sent(service, second))
    assert emulator.counters()["sessions_opened"] == 1
    assert post(service, **{"from": "new@contoso.test"}).status_code == 202
    assert "\npostroom_config_reload_success 1.0" in metrics(service)


def test_a_bad_file_keeps_the_old_one_and_says_why(pair) -> None:
    service, _emulator = pair
    good = service.file.read_text()
    service.file.write_text(good + "\n[tenants.broken]\nsender = []\n")
    service.signal(signal.SIGHUP)
    until(lambda: lines(service, "configuration refused; the old one stays in force"))
    (told, *_) = lines(service, "configuration refused; the old one stays in force")
    assert "tenants.broken.sender" in told["faults"][0]
    assert "\npostroom_config_reload_success 0.0" in metrics(service)
    assert post(service).status_code == 202
    service.file.write_text(good)
    until(lambda: "\npostroom_config_reload_success 1.0" in metrics(service))


def test_a_changed_password_releases_a_parked_mailbox_and_a_revoked_key_ends(pair) -> None:
    service, emulator = pair
    (service.folder / "password").write_text("a-wrong-password")
    until(lambda: len(lines(service, "configuration adopted")) == 1)
    message = post(service).json()["id"]
    until(lambda: lines(service, "mailbox parked"))
    (service.folder / "password").write_text(EmulatorProcess.PASSWORD)
    until(lambda: is_sent(service, message))
    assert emulator.counters()["auth_failed"] == 1
    text = service.file.read_text()
    start = text.index("keys = [")
    service.file.write_text(text[:start] + "keys = []\n" + text[text.index("\n", start) + 1 :])
    until(lambda: post(service).status_code == 401)


def test_mailboxes_come_and_go_and_a_returning_one_keeps_its_windows(pair) -> None:
    service, _emulator = pair
    message = post(service).json()["id"]
    until(lambda: is_sent(service, message))
    good = service.file.read_text()
    service.file.write_text(good.replace("[mailboxes.noreply]", "[mailboxes.other]"))
    until(lambda: len(lines(service, "configuration adopted")) == 1)
    (told,) = lines(service, "configuration adopted")
    assert told["mailboxes_added"] == ["other"] and told["mailboxes_removed"] == ["noreply"]
    message = post(service).json()["id"]
    until(lambda: is_sent(service, message))
    service.file.write_text(good)
    until(lambda: len(lines(service, "configuration adopted")) == 2)
    # It is the same mailbox to the server, whatever it was called meanwhile.
    assert 'postroom_mailbox_window_used{mailbox="noreply",window="minute"} 2' in metrics(service)


def test_a_mailbox_that_was_away_keeps_its_windows(pair) -> None:
    service, _emulator = pair
    message = post(service).json()["id"]
    until(lambda: is_sent(service, message))
    good = service.file.read_text()
    other = f'address = "other@contoso.test"\nsend_as = ["{SENDER}"]'
    service.file.write_text(good.replace(f'address = "{SENDER}"', other))
    until(lambda: len(lines(service, "configuration adopted")) == 1)
    service.file.write_text(good)
    until(lambda: len(lines(service, "configuration adopted")) == 2)
    assert 'postroom_mailbox_window_used{mailbox="noreply",window="minute"} 1' in metrics(service)


def test_what_only_a_start_can_change_is_named(pair) -> None:
    service, _emulator = pair
    service.file.write_text(service.file.read_text().replace('drain_delay = "0s"', 'drain_delay = "1s"'))
    service.signal(signal.SIGHUP)
    until(lambda: lines(service, "a restart is needed for some changes"))
    (told,) = lines(service, "a restart is needed for some changes")
    assert told["settings"] == ["server.drain_delay"]
