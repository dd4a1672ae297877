"""Operators' commands: over HTTP while a service runs, under the store's lock while none does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

from app.emulator import Account, Emulator
from tests.support.processes import POSTROOM, SENDER, ServiceProcess


def command(service: ServiceProcess, *words: str, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POSTROOM, "mailbox", *words, "--config", str(service.folder / "postroom.toml")],
        capture_output=True,
        text=True,
        env={**os.environ, "POSTROOM_ADMIN_KEY": key},
    )


async def test_a_mailbox_is_parked_at_rest_and_resumed_while_the_service_runs(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "secret-4")]) as emulator:

        def story() -> None:
            made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
            key, line = made.stdout.splitlines()
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "secret-4")
            file = tmp_path / "postroom.toml"
            file.write_text(file.read_text().replace("[server]", f"[server]\nadmin_keys = [{line}]"))
            parked = command(service, "park", "noreply")
            assert parked.returncode == 0, parked.stderr
            with service:
                wrong = command(service, "list")
                assert (wrong.returncode, "POSTROOM_ADMIN_KEY" in wrong.stderr) == (1, True)
                listed = json.loads(command(service, "list", "--json", key=key).stdout)
                assert [each["state"] for each in listed["data"]] == ["parked"]
                assert command(service, "resume", "noreply", key=key).returncode == 0
                listed = json.loads(command(service, "list", "--json", key=key).stdout)
                assert listed["data"][0]["parked"] is None
                assert command(service, "park", "nobody", key=key).returncode == 1

        await asyncio.to_thread(story)
