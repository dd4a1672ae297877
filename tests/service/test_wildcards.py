"""Mailboxes of a wildcard under pressure: many senders, few sessions, refusals that must stay few, whatever happens."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from app.delivery import desks, rounds
from app.emulator import Action, Fault
from app.emulator.entra import TokenFault
from app.mail.message import Priority
from app.queue.rows import LaneKey
from tests.support.branch import Branch, open_branch

WILD = {"apps": "*@contoso.test"}
BILLING, ALERTS = "billing@contoso.test", "alerts@contoso.test"


def names(branch: Branch) -> set[str]:
    return {name for name in branch.service.engine.desks if "/" in name}


async def test_every_sender_has_its_turn_though_few_may_have_sessions_and_few_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "LIVE", 4)
    monkeypatch.setattr(desks, "_REMEMBERED", 6)
    monkeypatch.setattr(rounds, "MOST", 3)
    monkeypatch.setattr("app.delivery.engine._CROWDED_SECONDS", 0.02)
    monkeypatch.setattr("app.delivery.engine._NEXT_ROUND_SECONDS", 0.02)
    async with open_branch(tmp_path, mailboxes=WILD) as branch:
        branch.service.engine.desks._tidy_at = 6
        posted = [await branch.post(f"u{number}@contoso.test") for number in range(20)]
        seen = 0
        for each in posted:
            await branch.status(each, "sent")
            seen = max(seen, branch.emulator.counters.sessions_open)
        assert seen <= 4 + 1  # a goodbye may be under way
        # Every one of them has used its day, and is remembered for that.
        assert len(names(branch)) == 20


async def test_one_who_is_forgotten_before_his_turn_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MOST", 1)
    async with open_branch(tmp_path, mailboxes=WILD) as branch:
        await branch.ask("POST", "/v1/mailboxes/apps/park", "admin", json={})
        posted = [await branch.post(f"u{number}@contoso.test") for number in range(5)]
        engine = branch.service.engine
        engine.desks._tidy_at = 0
        engine.desks.tidy()
        assert names(branch) == set()
        await branch.ask("POST", "/v1/mailboxes/apps/resume", "admin", json={})
        for each in posted:
            await branch.status(each, "sent")


async def test_mail_that_waits_goes_on_when_its_mailbox_becomes_a_wildcard(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"apps": BILLING}) as branch:
        await branch.ask("POST", "/v1/tenants/billing/pause", "admin", json={})
        posted = await branch.post(BILLING)
        assert await branch.change(lambda text: text.replace(f'"{BILLING}"', '"*@contoso.test"'))
        branch.service.sending.pauses._paused.clear()
        branch.service.engine._wake.set()
        await branch.until(lambda: branch.emulator.accepted, "it never went")
        assert (await branch.status(posted, "sent"))["attempts"][0]["mailbox"] == f"apps/{BILLING}"


async def test_one_refused_sign_in_counts_once_however_many_messages_waited_for_it(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=WILD, allowed=(BILLING,)) as branch:
        await branch.status(await branch.post(BILLING), "sent")
        branch.emulator.order(Fault(phase="auth", action=Action.LATE_REPLY, seconds=1, times=1))
        refused = [await branch.post("nobody@contoso.test") for _ in range(6)]
        await branch.until(lambda: branch.service.engine.desks["apps/nobody@contoso.test"].workers == 3)
        await branch.advance(1.1)
        for each in refused:
            await branch.waits(each, "sender-held")
        await branch.waits(await branch.post("other@contoso.test"), "sender-held")
        await branch.waits(await branch.post("third@contoso.test"), "sender-held")
        await branch.waits(await branch.post("fourth@contoso.test"), "sender-unproven")
        assert branch.refused == 3


async def test_a_restart_opens_no_room_for_further_refusals(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=WILD, allowed=()) as branch:
        first = await branch.post("u0@contoso.test")
        await branch.waits(first, "sender-held")
        assert branch.refused == 2  # a fresh token was tried
        await branch.crash_and_restart()
        others = [await branch.post(f"u{number}@contoso.test") for number in range(1, 4)]
        for each in others:
            await branch.waits(each, "sender-held", "sender-unproven")
        await asyncio.sleep(0.2)
        assert branch.refused == 3
        # An hour later the next ones may try.
        await branch.advance(3610)
        await branch.until(lambda: branch.refused > 3, "nobody tried again")
        await asyncio.sleep(0.2)
        assert branch.refused <= 6


async def test_a_refused_token_is_not_shown_again_while_no_fresh_one_is_to_be_had(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=WILD, allowed=()) as branch:
        branch.emulator.order(TokenFault(status=503, attempt=2))
        branch.emulator.order(TokenFault(status=503, attempt=3))
        posted = await branch.post("u0@contoso.test")
        held = await branch.waits(posted, "sender-held")
        assert held["waiting_for"]["until"]
        await branch.advance(30)
        await asyncio.sleep(0.2)
        assert branch.refused == 1


async def test_what_was_granted_and_is_no_longer_costs_few_refusals(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=WILD) as branch:
        senders = [f"u{number}@contoso.test" for number in range(8)]
        for sender in senders:
            await branch.status(await branch.post(sender), "sent")
        branch.admit("elsewhere@contoso.test")
        await branch.emulator.cut_sessions()
        await branch.advance(120)
        waiting = [await branch.post(sender) for sender in senders for _ in range(2)]
        for each in waiting:
            await branch.waits(each, "sender-held", "sender-unproven")
        await asyncio.sleep(0.3)
        assert branch.refused <= 6
        # Granted again, all of it goes: at once after an hour, and nobody is forgotten.
        branch.admit("*@contoso.test")
        await branch.advance(3700)
        for each in waiting:
            await branch.status(each, "sent")


async def test_an_operators_word_about_a_wildcard_stops_all_and_about_one_mailbox_that_one(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=WILD) as branch:
        for sender in (BILLING, ALERTS):
            await branch.status(await branch.post(sender), "sent")
        one = f"/v1/mailboxes/apps%2F{BILLING}"
        assert (await branch.ask("POST", f"{one}/park", "admin", json={})).json()["state"] == "parked"
        waiting = await branch.post(BILLING)
        told = (await branch.waits(waiting, "mailbox-parked"))["waiting_for"]
        assert "parked by" in told["text"] and f"apps/{BILLING}" in told["text"]
        await branch.status(await branch.post(ALERTS), "sent")
        assert (await branch.ask("POST", f"{one}/resume", "admin", json={})).json()["state"] != "parked"
        await branch.status(waiting, "sent")
        await branch.ask("POST", "/v1/mailboxes/apps/park", "admin", json={})
        kept = [await branch.post(sender) for sender in (BILLING, ALERTS, "new@contoso.test")]
        for each in kept:
            await branch.waits(each, "mailbox-parked")
        await branch.ask("POST", "/v1/mailboxes/apps/resume", "admin", json={})
        for each in kept:
            await branch.status(each, "sent")


@pytest.mark.parametrize("sender", ["Mixed.Case@CONTOSO.test", "a/b@contoso.test", "o'neil+x@contoso.test"])
async def test_every_form_of_a_from_address_is_one_mailbox(tmp_path: Path, sender: str) -> None:
    async with open_branch(tmp_path, mailboxes=WILD) as branch:
        for each in (sender, sender.lower()):
            await branch.status(await branch.post(each), "sent")
        assert names(branch) == {f"apps/{sender.lower()}"}
        (path,) = (name.replace("/", "%2F") for name in names(branch))
        seen = (await branch.ask("GET", f"/v1/mailboxes/{path}", "admin")).json()
        assert seen["minute"]["used"] == 2 and seen["day"]["used"] == 2


async def test_a_wildcard_does_not_sign_in_as_a_mailbox_that_is_configured(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={**WILD, "bill": BILLING}) as branch:
        sent = await branch.status(await branch.post(BILLING), "sent")
        assert sent["attempts"][0]["mailbox"] == "bill"
        await branch.ask("POST", "/v1/mailboxes/bill/park", "admin", json={})
        await branch.waits(await branch.post(BILLING), "mailbox-parked")
        # The other way, it would have windows and sessions of its own for one and the same mailbox.
        assert names(branch) == set()
        await branch.status(await branch.post(ALERTS), "sent")


async def test_a_hundred_thousand_senders_are_looked_at_a_few_at_a_time(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes=WILD) as branch:
        await branch.ask("POST", "/v1/mailboxes/apps/park", "admin", json={})
        engine, now = branch.service.engine, branch.clock.now()
        for number in range(100_000):
            engine.board.note(LaneKey(10 + number, Priority.NORMAL), "shop", f"u{number}@contoso.test", now)
        for _ in range(15):
            engine._assign()
        assert len(engine.desks) <= 2000 + rounds.MOST + 1
        forecast = await branch.post(BILLING)
        assert forecast["status"] == "queued" and len(engine.desks) <= 2000 + 2 * rounds.MOST
        began = time.perf_counter()
        engine._assign()
        assert time.perf_counter() - began < 3  # a look at each took 16 s
