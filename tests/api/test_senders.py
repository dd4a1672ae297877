"""The operators' doors to the senders, and what a tenant is told of a server's words."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from app.emulator import Fault, wording
from tests.support.house import MAILBOX, open_house

OTHER = "other@contoso.test"
NOBODY = "nobody@contoso.test"


async def test_every_sender_is_told_with_its_state_its_refusals_and_its_last_success(tmp_path: Path) -> None:
    fault = Fault(phase="rcpt", reply=wording("unknown-recipient"), recipient=NOBODY)
    async with open_house(tmp_path, fault) as house:
        assert (await house.ask("GET", "/v1/senders", "admin")).json() == {
            "object": "list",
            "has_more": False,
            "data": [],
        }
        await house.status(await house.post(MAILBOX), "sent")
        await house.status(await house.post(MAILBOX, NOBODY, "ann@customer.test", tenant="shop"), "partially_sent",
                           tenant="shop")  # fmt: skip
        await house.status(await house.post(OTHER), "failed")
        told = await house.senders()
        assert list(told) == [("billing", MAILBOX), ("billing", OTHER), ("shop", MAILBOX)]
        proven, unproven, slowed = told.values()
        assert (proven["object"], proven["state"], proven["held"], proven["refusals"]) == ("sender", "ok", None, [])
        assert datetime.fromisoformat(proven["last_success_at"]) <= house.clock.now()
        assert (unproven["state"], unproven["last_success_at"]) == ("unproven", None)
        assert [(each["reason"], each["count"]) for each in unproven["refusals"]] == [("send-as", 1)]
        assert (slowed["state"], slowed["refusals"][0]["reason"]) == ("slowed", "invalid-recipient")


async def test_the_senders_are_for_operators_alone(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        for door in ("admin", "billing"):
            key = {"authorization": f"Bearer {house.keys['billing'].text}"}
            answer = await house.ask("GET", "/v1/senders", door, headers=key)
            assert answer.status_code == (403 if door == "admin" else 404)
        assert (await house.ask("DELETE", "/v1/senders", "admin")).status_code == 405
        assert (await house.ask("GET", "/v1/senders?x=1", "admin")).status_code == 422
        answer = await house.ask("POST", "/v1/senders/release", "admin", content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


async def test_a_tenant_reads_the_servers_words_without_what_is_not_its_own(tmp_path: Path) -> None:
    """Neither the diagnostic block, nor hosts, nor the mailbox that it never named; operators read it as it came."""
    async with open_house(tmp_path) as house:
        posted = await house.post(OTHER)
        message = await house.status(posted, "failed")
        events = (await house.ask("GET", f"/v1/messages/{posted['id']}/events", "billing")).json()["data"]
        replies = [message["recipients"][0]["reply"], message["attempts"][0]["reply"]]
        replies += [event["reply"] for event in events if event["reply"]]
        assert len(replies) == 4
        for reply in replies:
            assert reply["text"].startswith(f"SendAsDenied; [address] not allowed to send as {OTHER};")
            assert "DiagnosticData" not in reply["text"]
            assert "Hostname" not in reply["text"]
        operators = (await house.ask("GET", "/v1/mailboxes/noreply", "admin")).json()
        assert MAILBOX in operators["last_refusal"]["reply"]["text"]
