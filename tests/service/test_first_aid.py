"""The operators' first aid by the command line: while the service runs, and while none does."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from app.emulator import Account, Emulator
from tests.support.processes import POSTROOM, SENDER, ServiceProcess

LETTER = {"from": SENDER, "to": "ada@customer.test", "subject": "Hello", "text": "Hello"}


class Operator:
    """A person with a shell on the service's machine."""

    def __init__(self, service: ServiceProcess, key: str) -> None:
        self.service = service
        self.key = key

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command and return how it ended."""
        config = ["--config", str(self.service.folder / "postroom.toml")]
        environment = {**os.environ, "POSTROOM_ADMIN_KEY": self.key}
        return subprocess.run([POSTROOM, *words, *config], capture_output=True, text=True, env=environment)

    def does(self, *words: str) -> str:
        """Run a command that succeeds and return what it printed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reads(self, *words: str) -> Any:
        """Run a command that prints JSON and return that."""
        return json.loads(self.does(*words))


def operated(folder: Path, emulator: Emulator, password: str) -> tuple[ServiceProcess, Operator]:
    """A service with an operator's key, not started."""
    made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
    key, line = made.stdout.splitlines()
    service = ServiceProcess(folder, emulator.port, emulator.ca_pem, password)
    file = folder / "postroom.toml"
    file.write_text(file.read_text().replace("[server]", f"[server]\nadmin_keys = [{line}]"))
    return service, Operator(service, key)


def post(client: httpx.Client, **more: Any) -> str:
    answer = client.post("/v1/messages", json={**LETTER, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def read(client: httpx.Client, identity: str) -> dict[str, Any]:
    return dict(client.get(f"/v1/messages/{identity}").json())


def until_sent(client: httpx.Client, identity: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while (message := read(client, identity))["status"] != "sent" and time.monotonic() < end:
        time.sleep(0.05)
    return message


async def test_a_paused_tenants_mail_waits_through_a_restart_until_it_is_resumed(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "secret-8")]) as emulator:

        def story() -> None:
            service, operator = operated(tmp_path, emulator, "secret-8")
            assert "paused" in operator.does("tenant", "pause", "demo")
            with service, service.client() as client:
                answer = client.post("/v1/messages", json=LETTER)
                assert (answer.status_code, answer.json()["estimated_send_at"]) == (202, None)
                assert answer.json()["waiting_for"]["code"] == "tenant-paused"
                identity = answer.json()["id"]
                service.kill()
                service.start()
                time.sleep(0.3)
                assert read(client, identity)["waiting_for"]["code"] == "tenant-paused"
                assert [each["paused"]["by"] for each in operator.reads("tenant", "list", "--json")["data"]] == [
                    f"cli:{getpass.getuser()}"
                ]
                assert operator.run("tenant", "pause", "nobody").returncode == 1
                operator.does("tenant", "resume", "demo")
                assert until_sent(client, identity)["status"] == "sent"
                rows = operator.reads("audit", "--json")["data"]
                assert [(row["action"], row["target"]) for row in rows] == [
                    ("tenant.resume", "demo"),
                    ("tenant.pause", "demo"),
                ]
                assert [row["who"] == f"cli:{getpass.getuser()}" for row in rows] == [False, True]

        await asyncio.to_thread(story)


async def test_mail_is_held_released_and_canceled_while_the_service_runs_and_while_none_does(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "secret-9")]) as emulator:

        def story() -> None:
            service, operator = operated(tmp_path, emulator, "secret-9")
            tagged = {"tags": [{"name": "run", "value": "7"}]}
            with service, service.client() as client:
                operator.does("mailbox", "park", "noreply")
                kept, dropped = post(client), post(client, **tagged)
                assert operator.reads("queue", "hold", "--tenant", "demo") == {"matched": 2, "changed": 2}
                assert read(client, kept)["status"] == "held"
                assert read(client, kept)["waiting_for"] == {"code": "held", "text": "an operator holds it"}
                operator.does("mailbox", "resume", "noreply")
                sent = post(client)
                assert until_sent(client, sent)["status"] == "sent"
                assert service.terminate() == 0
                # At rest: the same commands, under the store's lock.
                listed = operator.reads("queue", "list", "--status", "held", "--json")
                assert [each["id"] for each in listed["data"]] == [dropped, kept]
                assert kept in operator.does("queue", "list", "--tenant", "demo")
                assert operator.reads("queue", "cancel", "--tag", "run:7") == {"matched": 1, "changed": 1}
                service.start()
                time.sleep(0.3)
                assert read(client, kept)["status"] == "held"
                told = operator.reads("queue", "release", "--from", SENDER, "--before", "2999-01-01T00:00:00Z")
                assert told == {"matched": 1, "changed": 1}
                assert until_sent(client, kept)["status"] == "sent"
                assert read(client, dropped)["status"] == "canceled"
                events = client.get(f"/v1/messages/{kept}/events").json()["data"]
                types = [event["type"].removeprefix("message.") for event in events]
                assert types == ["accepted", "held", "released", "attempted", "sent"]
                assert operator.reads("queue", "list", "--json")["data"] == []

        await asyncio.to_thread(story)
    assert len(emulator.accepted) == 2


async def test_a_change_without_a_filter_or_with_a_wrong_one_fails(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "secret-9")]) as emulator:

        def story() -> None:
            service, operator = operated(tmp_path, emulator, "secret-9")
            for _ in range(2):
                for deed in ("cancel", "hold", "release"):
                    assert operator.run("queue", deed).returncode == 2
                wrong = operator.run("queue", "cancel", "--status", "sent")
                assert (wrong.returncode, "status" in wrong.stderr) == (1, True)
                if service.process is None:
                    service.start()
            service.kill()

        await asyncio.to_thread(story)
