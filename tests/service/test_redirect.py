"""A staging system: everything goes to one address, and nothing else about a message changes."""

from __future__ import annotations

import asyncio
import email
import email.policy
from pathlib import Path
from typing import Any

from app.emulator import Account, Emulator
from tests.support.processes import SENDER, ServiceProcess

STAGING = "staging@contoso.test"
LETTER: dict[str, Any] = {
    "from": f"Desk <{SENDER}>",
    "to": ["Ada <ada@customer.test>", "bob@customer.test"],
    "cc": "ADA@customer.test",
    "bcc": "secret@partner.test",
    "subject": "Hello",
    "text": "Hello",
    "headers": {"X-Postroom-Original-To": "forged@customer.test", "X-Other": "kept"},
}


async def test_everything_goes_to_the_one_address_and_tells_for_whom_it_was(tmp_path: Path) -> None:
    """One RCPT; To and Cc as written; the caller sees its own recipients, each with its result."""
    async with Emulator([Account(SENDER, "secret-6")]) as emulator:

        def story() -> dict[str, Any]:
            service = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "secret-6")
            file = tmp_path / "postroom.toml"
            file.write_text(file.read_text().replace("[server]", f'[server]\nredirect_all_to = "{STAGING}"'))
            with service, service.client() as client:
                told = client.post("/v1/messages", json=LETTER, headers={"Prefer": "wait=10"})
                assert told.status_code == 200, told.text
                found = client.get("/v1/messages", params={"to": "bob@customer.test"}).json()["data"]
                assert [each["id"] for each in found] == [told.json()["id"]]
                return dict(told.json())

        told = await asyncio.to_thread(story)
    (arrived,) = emulator.accepted
    assert list(arrived.rcpt_tos) == [STAGING]
    content = email.message_from_bytes(arrived.raw, policy=email.policy.default)
    assert content["X-Postroom-Original-To"] == "ada@customer.test, bob@customer.test, secret@partner.test"
    assert (content["X-Other"], content["Bcc"]) == ("kept", None)
    assert content["To"] == "Ada <ada@customer.test>, bob@customer.test"
    assert told["status"] == "sent"
    assert [(each["address"], each["kind"], each["result"]) for each in told["recipients"]] == [
        ("ada@customer.test", "to", "sent"),
        ("bob@customer.test", "to", "sent"),
        ("secret@partner.test", "bcc", "sent"),
    ]
