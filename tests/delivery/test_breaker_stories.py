"""The breaker in the whole service: what the remote saw, what the doors tell, and what a restart keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.emulator import Fault, wording
from tests.support.house import MAILBOX, House, open_house

OTHER = "other@contoso.test"
NOBODY = "nobody@contoso.test"
UNKNOWN_RECIPIENT = Fault(phase="rcpt", reply=wording("unknown-recipient"), recipient=NOBODY)
TOO_MANY = Fault(phase="dot", reply=wording("recipient-limit"))


def denials(house: House) -> int:
    return sum("SendAsDenied" in each.reply for each in house.emulator.messages)


async def held(house: House, sender: str = OTHER) -> None:
    """Let a sender be held by two denials."""
    for _ in range(2):
        message = await house.status(await house.post(sender), "failed")
        assert message["recipients"][0]["result"] == "rejected"
    assert (await house.senders())["billing", sender]["state"] == "held"


async def test_the_second_denial_holds_the_sender_until_a_person_releases_it(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await held(house)
        later = await house.post(OTHER)
        assert later["status"] == "queued"
        assert later["estimated_send_at"] is None
        assert later["waiting_for"]["code"] == "sender-held"
        told = (await house.senders())["billing", OTHER]
        assert told["held"]["reason"] == "send-as"
        assert "Add-RecipientPermission" in told["held"]["cure"]
        assert told["refusals"][0]["count"] == 2
        message = await house.message(later)
        assert (message["status"], message["waiting_for"]["code"], message["attempts"]) == ("queued", "sender-held", [])
        await house.grant(OTHER)
        answer = await house.ask("POST", "/v1/senders/release", "admin", json={"tenant": "billing", "from": OTHER})
        assert (answer.status_code, answer.json()["state"], answer.json()["held"]) == (200, "unproven", None)
        await house.status(later, "sent")
        assert (await house.senders())["billing", OTHER]["state"] == "ok"
        assert denials(house) == 2


async def test_a_held_sender_stays_held_over_a_crash_and_so_do_its_mailboxs_refusals(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await held(house)
        later = await house.post(OTHER)
        await house.crash_and_restart()
        assert (await house.senders())["billing", OTHER]["held"]["reason"] == "send-as"
        assert (await house.message(later))["waiting_for"]["code"] == "sender-held"
        await house.status(await house.post("third@contoso.test"), "failed")
        waits = await house.post("fourth@contoso.test")
        assert waits["waiting_for"]["code"] == "sender-unproven"
        assert denials(house) == 3


async def test_the_one_refusal_of_before_a_crash_counts_after_it(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.status(await house.post(OTHER), "failed")
        await house.crash_and_restart()
        await house.status(await house.post(OTHER), "failed")
        assert (await house.senders())["billing", OTHER]["state"] == "held"


async def test_other_senders_of_the_mailbox_and_other_tenants_go_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await held(house)
        await house.status(await house.post(MAILBOX), "sent")
        await house.grant(OTHER)
        await house.status(await house.post(OTHER, tenant="shop"), "sent", tenant="shop")


async def test_an_unproven_sender_has_one_message_under_way_and_a_proven_one_three(tmp_path: Path) -> None:
    slow = Fault(phase="dot", action="late-reply", seconds=60.0, times=4)
    async with open_house(tmp_path, slow) as house:
        posted = [await house.post(MAILBOX) for _ in range(4)]
        await house.until(lambda: house.emulator.counters.faults == 1)
        await asyncio.sleep(0.1)
        assert house.emulator.counters.faults == 1
        waits = await house.message(posted[3])
        assert waits["waiting_for"]["code"] == "sender-unproven"
        assert waits["estimated_send_at"] is not None
        await house.advance(60)
        await house.until(lambda: house.emulator.counters.faults == 4)
        await house.advance(60)
        for each in posted:
            await house.status(each, "sent")


async def test_a_mailbox_gives_no_fourth_refusal_in_ten_minutes_and_proven_senders_go_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.status(await house.post(MAILBOX), "sent")
        bad = [await house.post(f"s{number}@contoso.test") for number in range(6)]
        await house.until(lambda: denials(house) == 3)
        waiting = [each for each in bad if (await house.message(each))["status"] == "queued"]
        assert len(waiting) == 3
        for each in waiting:
            told = (await house.message(each))["waiting_for"]
            assert told["code"] == "sender-unproven"
            assert "until" in told
        await house.status(await house.post(MAILBOX), "sent")
        await house.advance(590)
        await house.status(await house.post(MAILBOX), "sent")
        assert denials(house) == 3
        await house.advance(11)
        await house.until(lambda: denials(house) == 6)
        for each in bad:
            await house.status(each, "failed")
        assert (await house.ask("GET", "/v1/mailboxes/noreply", "admin")).json()["state"] != "parked"


async def test_a_random_denial_of_a_sender_that_has_just_succeeded_is_tried_once_more(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.status(await house.post(MAILBOX), "sent")
        house.emulator.order(Fault(phase="dot", reply=wording("send-as-denied"), times=1))
        message = await house.status(posted := await house.post(MAILBOX), "deferred")
        assert message["recipients"][0]["cause"] == "The mailbox may not send as this From address."
        await house.advance(31)
        message = await house.status(posted, "sent")
        assert [each["outcome"] for each in message["attempts"]] == ["deferred", "sent"]
        assert (await house.senders())["billing", MAILBOX]["refusals"] == []


async def test_a_right_that_was_withdrawn_holds_at_the_second_denial(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.grant(OTHER)
        await house.status(await house.post(OTHER), "sent")
        await house.grant()
        posted = await house.post(OTHER)
        await house.status(posted, "deferred")
        await house.advance(31)
        await house.status(posted, "failed")
        assert (await house.senders())["billing", OTHER]["state"] == "held"
        assert denials(house) == 2


async def test_too_many_recipients_hold_at_the_second_refusal(tmp_path: Path) -> None:
    async with open_house(tmp_path, TOO_MANY) as house:
        for _ in range(2):
            await house.status(await house.post(MAILBOX), "failed")
        assert (await house.senders())["billing", MAILBOX]["held"]["reason"] == "too-many-recipients"


async def test_an_address_that_was_refused_is_answered_from_memory_for_a_day(tmp_path: Path) -> None:
    async with open_house(tmp_path, UNKNOWN_RECIPIENT) as house:
        first = await house.status(await house.post(MAILBOX, NOBODY), "failed")
        await house.crash_and_restart()
        alone = await house.post(MAILBOX, NOBODY, tenant="shop")
        assert (alone["status"], alone["waiting_for"]) == ("failed", None)
        told = await house.message(alone, "shop")
        for word in ("result", "reply", "cause", "cure"):
            assert told["recipients"][0][word] == first["recipients"][0][word]
        assert told["attempts"] == []
        mixed = await house.status(await house.post(MAILBOX, NOBODY, "ann@customer.test"), "partially_sent")
        assert [each["result"] for each in mixed["recipients"]] == ["rejected", "sent"]
        assert UNKNOWN_RECIPIENT.seen == 1
        assert (await house.senders())["billing", MAILBOX]["state"] == "slowed"
        await house.advance(86_401)
        await house.status(await house.post(MAILBOX, NOBODY), "failed")
        assert UNKNOWN_RECIPIENT.seen == 2


async def test_what_waited_for_an_address_before_it_was_refused_is_not_tried_either(tmp_path: Path) -> None:
    fault = Fault(phase="rcpt", reply=wording("unknown-recipient"), recipient=NOBODY)
    async with open_house(tmp_path, fault) as house:
        posted = [await house.post(MAILBOX, NOBODY) for _ in range(3)]
        posted.append(await house.post(MAILBOX, "ann@customer.test", NOBODY))
        *alone, mixed = [await house.status(each, "failed", "partially_sent") for each in posted]
        assert fault.seen == 1
        assert [each["recipients"][0]["reply"]["enhanced_code"] for each in alone] == ["5.1.10"] * 3
        assert [len(each["attempts"]) for each in alone] == [1] * 3
        assert [each["result"] for each in mixed["recipients"]] == ["sent", "rejected"]


async def test_a_release_forgets_the_addresses_that_the_sender_learnt(tmp_path: Path) -> None:
    fault = Fault(phase="rcpt", reply=wording("unknown-recipient"), recipient=NOBODY, times=1)
    async with open_house(tmp_path, fault) as house:
        await house.status(await house.post(MAILBOX, NOBODY), "failed")
        await house.ask("POST", "/v1/senders/release", "admin", json={"tenant": "billing", "from": MAILBOX})
        await house.status(await house.post(MAILBOX, NOBODY), "sent")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"tenant": "billing", "from": "stranger@contoso.test"}, 404, "not-found"),
        ({"tenant": "nobody", "from": OTHER}, 404, "not-found"),
        ({"tenant": "billing"}, 422, "validation-error"),
        ({"tenant": "billing", "from": "no address"}, 422, "validation-error"),
        ({"tenant": "billing", "from": OTHER, "more": 1}, 422, "validation-error"),
    ],
)
async def test_only_a_known_sender_can_be_released(tmp_path: Path, body: dict, status: int, code: str) -> None:
    async with open_house(tmp_path) as house:
        answer = await house.ask("POST", "/v1/senders/release", "admin", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_release_stands_in_the_audit(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await held(house)
        await house.ask("POST", "/v1/senders/release", "admin", json={"tenant": "billing", "from": OTHER})
        (row,) = (await house.ask("GET", "/v1/audit", "admin")).json()["data"]
        told = (row["who"], row["action"], row["target"], row["detail"])
        assert told == (house.keys["admin"].id, "sender.release", f"billing {OTHER}", "held for send-as")


async def test_a_full_mailbox_is_parked_at_the_first_refusal_and_nothing_is_lost(tmp_path: Path) -> None:
    """Only what was under way, at most one message a session, is refused besides."""
    async with open_house(tmp_path) as house:
        await house.status(await house.post(MAILBOX), "sent")
        full = Fault(phase="dot", reply=wording("mailbox-full"))
        house.emulator.order(full)
        posted = [await house.post(MAILBOX) for _ in range(8)]
        await house.until(lambda: house.service.engine.desks["noreply"].parked)
        await asyncio.sleep(0.1)
        assert full.fired <= 3
        house.emulator.faults.clear()
        await house.ask("POST", "/v1/mailboxes/noreply/resume", "admin")
        for each in posted:
            await house.status(each, "sent")
        assert (await house.senders())["billing", MAILBOX]["state"] == "ok"


async def test_a_name_that_no_row_knows_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = Fault(phase="dot", reply=wording("storedrv-unknown"))
    async with open_house(tmp_path, strange) as house:
        for _ in range(3):
            await house.status(await house.post(MAILBOX), "failed")
        told = [line for line in capsys.readouterr().out.splitlines() if "unknown refusal" in line]
        assert len(told) == 1
        assert "SomethingNewException" in told[0]


async def test_a_list_of_bad_addresses_slows_its_sender_and_nobody_else(tmp_path: Path) -> None:
    """Three refusals in ten minutes, not one more, though the sender is proven; the mailbox is never blocked."""
    bad = Fault(phase="rcpt", reply=wording("unknown-recipient"), recipient="*@gone.test")
    async with open_house(tmp_path, bad) as house:
        for tenant in ("billing", "shop"):
            await house.status(await house.post(MAILBOX, tenant=tenant), "sent", tenant=tenant)
        posted = [await house.post(MAILBOX, f"a{number}@gone.test") for number in range(8)]
        for each in posted[:3]:
            await house.status(each, "failed")
        waits = (await house.message(posted[3]))["waiting_for"]
        assert waits["code"] == "sender-unproven"
        assert "invalid-recipient" in waits["text"]
        await house.status(await house.post(MAILBOX, tenant="shop"), "sent", tenant="shop")
        assert bad.seen == 3
        await house.advance(601)
        await house.status(posted[5], "failed")
        assert bad.seen == 6
