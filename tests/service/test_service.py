"""The whole service, from the outside: what is accepted arrives to the octet, and survives the process."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import time
from pathlib import Path

import httpx
import trustme

from app.emulator import Account, Emulator, Fault
from tests.support.aiosmtpd_server import AiosmtpdServer
from tests.support.processes import SENDER, ServiceProcess

LETTER = {
    "from": f"Desk <{SENDER}>",
    "to": "ada@customer.test",
    "subject": "Grüße",
    "text": "Hello\n.dot\n",
    "bcc": "b@x.test",
}
FINAL = {"sent", "unknown", "failed", "expired", "canceled", "partially_sent"}


def settle(client: httpx.Client, identity: str, seconds: float = 30) -> dict:
    until = time.monotonic() + seconds
    while True:
        message = client.get(f"/v1/messages/{identity}").json()
        if message["status"] in FINAL or time.monotonic() > until:
            return message
        time.sleep(0.05)


async def test_a_message_arrives_with_its_envelope_and_content_and_its_outcome_is_told(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "pass-word-1")]) as emulator:

        def story() -> dict:
            with ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "pass-word-1") as service:
                with service.client() as client:
                    answer = client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=10"})
                    assert answer.status_code == 200, answer.text
                    told = answer.json()
                assert service.terminate() == 0
                assert "pass-word-1" not in service.log()
                return told

        told = await asyncio.to_thread(story)
        assert told["status"] == "sent"
        assert told["attempts"][0]["reply"]["code"] == 250
        (arrived,) = emulator.accepted
        assert sorted(arrived.rcpt_tos) == ["ada@customer.test", "b@x.test"]
        content = email.message_from_bytes(arrived.raw, policy=email.policy.default)
        assert content["Subject"] == "Grüße"
        assert content["Bcc"] is None
        assert content.get_content().replace("\r\n", "\n") == "Hello\n.dot\n"


async def test_a_refused_sign_in_parks_the_mailbox_and_keeps_the_mail(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "right")]) as emulator:

        def story() -> list[dict]:
            with (
                ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "wrong") as service,
                service.client() as client,
            ):
                identity = client.post("/v1/messages", json=LETTER).json()["id"]
                until = time.monotonic() + 10
                while time.monotonic() < until:
                    message = client.get(f"/v1/messages/{identity}").json()
                    if message["waiting_for"] and message["waiting_for"]["code"] == "mailbox-parked":
                        break
                    time.sleep(0.05)
                (tmp_path / "password").write_text("right")
                service.terminate()
                service.start()
                return [message, settle(client, identity)]

        parked, released = await asyncio.to_thread(story)
        assert parked["status"] == "queued"
        assert parked["waiting_for"]["code"] == "mailbox-parked"
        assert parked["attempts"] == []
        assert released["status"] == "sent"


async def test_a_link_lost_after_the_dot_is_tried_once_more_with_the_same_message_id(tmp_path: Path) -> None:
    fault = Fault(phase="dot", action="drop-after-dot", recipient="ada@customer.test")
    async with Emulator([Account(SENDER, "secret-1")], faults=[fault]) as emulator:

        def story() -> dict:
            retry = '[delivery]\nretry = ["1s"]\n'
            running = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "secret-1", top=retry)
            with running as service, service.client() as client:
                identity = client.post("/v1/messages", json=LETTER).json()["id"]
                return settle(client, identity)

        told = await asyncio.to_thread(story)
        assert told["status"] == "unknown"
        assert [attempt["outcome"] for attempt in told["attempts"]] == ["unknown", "unknown"]
        heads = [email.message_from_bytes(each.raw) for each in emulator.messages]
        assert len({(head["Message-ID"], head["Date"]) for head in heads}) == 1


def test_a_server_that_is_not_ours_takes_it_byte_right(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    ca_pem = authority.cert_pem.bytes()
    with AiosmtpdServer(context, users={SENDER: "secret-3"}) as server:
        with ServiceProcess(tmp_path, server.port, ca_pem, "secret-3") as service, service.client() as client:
            told = client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=10"}).json()
        assert told["status"] == "sent"
        content = email.message_from_bytes(server.messages[0].content, policy=email.policy.default)
        assert content["Subject"] == "Grüße"
        assert content["Message-ID"] == told["message_id"]
