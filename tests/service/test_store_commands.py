"""A copy is taken while the service takes in mail, and a service starts from it."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import trustme

from tests.support.processes import POSTROOM, SENDER, ServiceProcess, free_port

LETTER = {"from": SENDER, "to": "ada@example.com", "subject": "Kept", "text": "Kept."}


def test_a_copy_taken_during_the_rush_is_whole_and_a_service_starts_from_it(tmp_path: Path) -> None:
    authority_pem = trustme.CA().cert_pem.bytes()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    nowhere = free_port()
    copy = second / "postroom.db"
    config = ("--config", str(first / "postroom.toml"))
    with ServiceProcess(first, nowhere, authority_pem, "secret-5") as service, service.client() as http:
        before = [http.post("/v1/messages", json=LETTER).json()["id"] for _ in range(20)]
        enough = threading.Event()

        def rush() -> None:
            with service.client() as other:
                while not enough.is_set():
                    assert other.post("/v1/messages", json=LETTER).status_code == 202

        rushing = threading.Thread(target=rush)
        rushing.start()
        made = subprocess.run([POSTROOM, "store", "backup", copy, *config], capture_output=True, text=True)
        checked = subprocess.run([POSTROOM, "store", "check", *config], capture_output=True, text=True)
        enough.set()
        rushing.join()
    assert (made.returncode, checked.returncode) == (0, 0), made.stderr + checked.stdout + checked.stderr
    checked = subprocess.run([POSTROOM, "store", "check", copy, *config], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, f"ok: {copy}\n")
    restored = ServiceProcess(second, nowhere, authority_pem, "secret-5")
    with restored, restored.client() as http:
        for identity in before:
            assert http.get(f"/v1/messages/{identity}").json()["status"] in ("queued", "deferred")
