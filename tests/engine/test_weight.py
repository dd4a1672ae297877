"""What size costs: a large message is streamed, a long queue is neither kept in memory nor felt in speed.

Measured on the service as a process of its own, from outside.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from pathlib import Path

from app.emulator import Account, Emulator, Fault
from bench.fill import fill_waiting
from tests.support.memory import peak_of
from tests.support.processes import SENDER, ServiceProcess

MIB = 1024 * 1024
WAITING = 100_000


def wait_until(condition, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


async def test_sending_a_message_of_35_megabytes_costs_less_than_ten_of_memory(tmp_path: Path) -> None:
    closed = Fault(phase="connect", action="close")
    async with Emulator([Account(SENDER, "pass-word-8")], faults=[closed]) as emulator:

        def story() -> float:
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "pass-word-8")
            with service, service.client() as client:
                raw = base64.b64encode(os.urandom(3 * MIB // 4)).decode() * 33
                attachment = {"filename": "large.bin", "content": raw, "content_type": "application/octet-stream"}
                letter = {"from": SENDER, "to": "ada@customer.test", "subject": "Large", "text": "."}
                answer = client.post("/v1/messages", json={**letter, "attachments": [attachment]}, timeout=60)
                assert answer.status_code == 202, answer.text
                identity = answer.json()["id"]
                # A new process: nothing that the upload left behind can be used again, everything is paid for here.
                service.kill()
                service.start()
                knocks = emulator.counters.sessions_opened
                wait_until(lambda: emulator.counters.sessions_opened >= knocks + 1)
                time.sleep(0.2)
                assert service.process
                peak = peak_of(service.process.pid)
                emulator.faults.clear()
                wait_until(lambda: client.get(f"/v1/messages/{identity}").json()["status"] == "sent")
                return (peak.read() - peak.idle) / MIB

        cost = await asyncio.to_thread(story)
        (arrived,) = emulator.accepted
        assert len(arrived.raw) > 33.5 * MIB
        assert cost < 10


def test_a_hundred_thousand_messages_waiting_cost_less_than_150_megabytes(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path, 9, b"", "pass-word-9")  # nobody listens on the discard port
    (tmp_path / "ca.pem").unlink()
    text = (tmp_path / "postroom.toml").read_text().replace('ca_file = "ca.pem"\n', "")
    text = text.replace("[store]\n", "[store]\nqueue_limit = 200000\n")  # full is not what is measured here
    (tmp_path / "postroom.toml").write_text(text)
    with service, service.client() as client:
        letter = {"from": SENDER, "to": "ada@customer.test", "subject": "One of many", "text": "."}
        assert client.post("/v1/messages", json=letter).status_code == 202
        service.terminate()
        fill_waiting(tmp_path / "postroom.db", WAITING)
        service.start()
        assert service.process
        peak = peak_of(service.process.pid, anew=False)
        wait_until(lambda: client.get("/v1/messages?limit=1").status_code == 200)
        time.sleep(1.0)
        assert peak.read() / MIB < 150
