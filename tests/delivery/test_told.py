"""Trouble comes with its cause and its cure, in every place where it is told; and tenants read only their own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from app.settings.faults import ConfigurationFaults
from tests.support.lapse import Lapse, run
from tests.support.model_exchange import Account
from tests.support.town import MAILBOX, Posted, Tenant, Town, open_town

BLOB = (
    "[BeginDiagnosticData]Cannot submit message. 0.35250:0A00E482, 1.36674:0A000000, "
    + "StoreDrv.victim@elsewhere.test.EM0PR01MB0001.EUP281.PROD.OUTLOOK.COM, " * 40
    + "[EndDiagnosticData]"
)
DENIED = (
    554,
    f"5.2.252 SendAsDenied; {MAILBOX} not allowed to send as guess@contoso.test; STOREDRV.Submission.Exception:"
    f"SendAsDeniedException.MapiExceptionSendAsDenied; told to secret.person@elsewhere.test; {BLOB} "
    "[Hostname=EM0PR01MB0001.EUP281.PROD.OUTLOOK.COM]",
)
FULL = (554, "5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException; " + BLOB)
# What no tenant may read.
FOREIGN = ("DiagnosticData", "OUTLOOK.COM", "victim@", "secret.person", "0A00E482", "Hostname")


async def met(town: Town, reply: tuple[int, str], sender: str = MAILBOX) -> Posted:
    """Post a message that meets this reply."""
    town.account.ordered.append(reply)
    posted = await town.post("shop", sender=sender)
    await asyncio.sleep(5)
    return posted


async def events(town: Town, posted: Posted) -> list[dict[str, Any]]:
    return (await town.ask("GET", f"/v1/messages/{posted.id}/events", "shop")).json()["data"]


async def mailbox(town: Town) -> dict[str, Any]:
    return (await town.ask("GET", "/v1/mailboxes/noreply", "admin")).json()


def logged(town: Town, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in town.log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_a_refusal_is_told_with_cause_and_cure_to_tenant_operator_and_log_and_not_more_than_is_theirs() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop"), level="info") as town:
            posted = await met(town, DENIED, "guess@contoso.test")
            message = await town.message("shop", posted)
            (recipient,) = message["recipients"]
            assert (message["status"], recipient["result"]) == ("failed", "rejected")
            assert (recipient["reply"]["code"], recipient["reply"]["enhanced_code"]) == (554, "5.2.252")
            assert recipient["reply"]["text"].startswith("SendAsDenied;")
            cause, cure = recipient["cause"], recipient["cure"]
            assert "may not send as" in cause
            assert "Add-RecipientPermission" in cure
            refused = next(each for each in await events(town, posted) if each["type"] == "message.rejected")
            assert (refused["cause"], refused["cure"], refused["reply"]["code"]) == (cause, cure, 554)
            listed = (await town.ask("GET", "/v1/messages", "shop")).text
            for told in (json.dumps(message), json.dumps(await events(town, posted)), listed):
                assert not [each for each in FOREIGN if each in told]
                # Whose mailbox it is, a tenant is told by name only.
                assert MAILBOX not in told
            last = (await mailbox(town))["last_refusal"]
            assert (last["cause"], last["cure"], last["reply"]["code"]) == (cause, cure, 554)
            assert "BeginDiagnosticData" in last["reply"]["text"]
            (line,) = logged(town, "attempt")
            assert (line["cause"], line["cure"], line["smtp_code"]) == (cause, cure, 554)
            assert len(line["smtp_text"]) <= 500
            assert "secret.person@" not in town.log.getvalue()

    run(story)


def test_a_message_whose_reply_parks_the_mailbox_is_kept_with_cause_and_cure_and_goes_after_the_release() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop"), level="info") as town:
            posted = await met(town, FULL)
            message = await town.message("shop", posted)
            (recipient,) = message["recipients"]
            assert (recipient["result"], recipient["reply"]["code"]) == ("pending", 554)
            assert recipient["cause"]
            assert "Sent Items" in recipient["cure"]
            assert (message["estimated_send_at"], message["waiting_for"]["code"]) == (None, "mailbox-parked")
            parked = (await mailbox(town))["parked"]
            assert (parked["cause"], parked["cure"]) == (recipient["cause"], recipient["cure"])
            (line,) = logged(town, "mailbox parked")
            assert (line["cause"], line["cure"]) == (recipient["cause"], recipient["cure"])
            await asyncio.sleep(3600)
            assert len(town.account.diary) == 1
            assert (await town.ask("POST", "/v1/mailboxes/noreply/resume", "admin")).status_code == 200
            await asyncio.sleep(5)
            assert (await town.message("shop", posted))["status"] == "sent"

    run(story)


def test_a_wait_is_told_to_a_tenant_without_the_names_and_addresses_of_others() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop"), Tenant("other"), level="info") as town:
            for _ in range(2):
                await met(town, DENIED, "guess@contoso.test")
            await town.ask("POST", "/v1/mailboxes/noreply/park", "admin", json={})
            letter = {"from": "x@contoso.test", "to": "ann@customer.test", "subject": "s", "text": "t"}
            answer = await town.ask("POST", "/v1/messages", "other", json=letter)
            assert answer.json()["waiting_for"]["code"] == "mailbox-parked"
            for foreign in ("shop", "guess@", MAILBOX):
                assert foreign not in answer.text

    run(story)


ROWS = """
[[replies]]
phase = "dot"
code = 554
enhanced = "5.2.0"
text = 'Exception:Something\\w+'
outcome = "deferred"
scope = "message"
wait = "10m"
cause = "The gateway of this house says so now and then."
cure = "Nothing; it passes."
"""


def test_an_operators_row_decides_before_the_catalogue_and_its_words_reach_the_tenant() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop"), extra=ROWS) as town:
            words = "5.2.0 STOREDRV.Submission.Exception:SomethingNewException; Failed to process message"
            posted = await met(town, (554, words))
            message = await town.message("shop", posted)
            assert (message["status"], message["waiting_for"]["code"]) == ("deferred", "retry-wait")
            (recipient,) = message["recipients"]
            assert recipient["cause"] == "The gateway of this house says so now and then."
            assert recipient["cure"] == "Nothing; it passes."
            began = town.account.diary[0].began
            await town.until(lambda: len(town.account.diary) == 2)
            assert 600 <= town.account.diary[1].began - began <= 610
            await asyncio.sleep(5)
            assert (await town.message("shop", posted))["status"] == "sent"

    run(story)


def test_a_bad_row_of_an_operator_refuses_the_start_and_says_where() -> None:
    async def story(loop: Lapse) -> None:
        bad = ROWS.replace("Something", "(Something").replace('"10m"', '"soon"')
        try:
            async with open_town(loop, Tenant("shop"), accounts=(Account(MAILBOX),), extra=bad):
                raise AssertionError("it started")
        except ConfigurationFaults as refused:
            told = str(refused)
        assert "replies[0].text" in told
        assert "replies[0].wait" in told

    run(story)
