"""Operators' commands about senders: over HTTP while a service runs, under the store's lock while none does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

from app.emulator import Account, Emulator, Fault, wording
from tests.support.processes import POSTROOM, SENDER, ServiceProcess

LETTER = {"from": SENDER, "to": "ada@customer.test", "subject": "Hello", "text": "Hello"}


def command(service: ServiceProcess, *words: str, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POSTROOM, "sender", *words, "--config", str(service.folder / "postroom.toml")],
        capture_output=True,
        text=True,
        env={**os.environ, "POSTROOM_ADMIN_KEY": key},
    )


def listed(service: ServiceProcess, key: str = "") -> list[dict]:
    return json.loads(command(service, "list", "--json", key=key).stdout)["data"]


async def test_a_sender_that_is_held_survives_the_process_and_goes_after_its_release(tmp_path: Path) -> None:
    fault = Fault(phase="dot", reply=wording("send-as-denied"), times=2)
    async with Emulator([Account(SENDER, "secret-4")], faults=[fault]) as emulator:

        def story() -> None:
            made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
            key, line = made.stdout.splitlines()
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "secret-4")
            file = tmp_path / "postroom.toml"
            file.write_text(file.read_text().replace("[server]", f"[server]\nadmin_keys = [{line}]"))
            wait = {"Prefer": "wait=10"}
            with service, service.client() as client:
                for _ in range(2):
                    assert client.post("/v1/messages", json=LETTER, headers=wait).json()["status"] == "failed"
                later = client.post("/v1/messages", json=LETTER).json()
                assert later["waiting_for"]["code"] == "sender-held"
                assert command(service, "list").returncode == 1
                shown = command(service, "list", key=key).stdout
                assert f"demo  {SENDER}  held" in shown
                assert "cause: The mailbox may not send" in shown
                (told,) = [
                    line for line in map(json.loads, service.log().splitlines()) if line["event"] == "sender held"
                ]
                assert (told["level"], told["tenant"], told["reason"]) == ("error", "demo", "send-as")
                assert "Add-RecipientPermission" in told["cure"]
                service.kill()
                assert [each["state"] for each in listed(service)] == ["held"]
                assert command(service, "release", "demo", "stranger@contoso.test").returncode == 1
                assert command(service, "release", "demo", SENDER).returncode == 0
                assert [each["state"] for each in listed(service)] == ["unproven"]
                service.start()
                told = client.get(f"/v1/messages/{later['id']}", headers=wait).json()
                for _ in range(200):
                    if told["status"] == "sent":
                        break
                    told = client.get(f"/v1/messages/{later['id']}").json()
                assert told["status"] == "sent"
                assert [each["state"] for each in listed(service, key)] == ["ok"]

        await asyncio.to_thread(story)
