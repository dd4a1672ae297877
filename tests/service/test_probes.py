"""How often a credential that was refused is shown again, by the clock: rarely, and at once when somebody acts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.emulator import Action, Fault
from app.emulator.entra import TokenAction, TokenFault
from tests.support.branch import Branch, open_branch

BILLING, ALERTS = "billing@contoso.test", "alerts@contoso.test"


async def minutes_of_probes(branch: Branch, minutes: int, count: str) -> list[int]:
    """Let minutes pass; return those in which the remote was asked."""
    seen, found = getattr(branch.emulator.counters, count), []
    for minute in range(1, minutes + 1):
        await branch.advance(60)
        for _ in range(6):
            await branch.advance(0.2)
            await asyncio.sleep(0.01)
        await branch.until(lambda: not branch.service.engine._probing)
        now = getattr(branch.emulator.counters, count)
        if now > seen:
            found.append(minute)
        seen = now
    return found


async def test_a_token_that_the_server_refuses_is_shown_after_5_15_and_then_every_60_minutes(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}, allowed=()) as branch:
        await branch.waits(await branch.post(BILLING), "mailbox-parked")
        assert branch.refused == 2
        found = await minutes_of_probes(branch, 145, "auth_failed")
        assert len(found) == 4, found
        for minute, due in zip(found, (5, 20, 80, 140), strict=True):
            assert abs(minute - due) <= 3, found


async def test_a_refused_secret_is_shown_every_five_minutes_at_most_however_many_mailboxes_wait(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING, "two": ALERTS}) as branch:
        branch.emulator.order(TokenFault(aadsts=7000222))
        messages = [await branch.post(sender) for sender in (BILLING, ALERTS) for _ in range(3)]
        for each in messages:
            await branch.waits(each, "mailbox-parked")
        began = branch.emulator.counters.token_requests
        assert began == 1
        await minutes_of_probes(branch, 30, "token_requests")
        assert 4 <= branch.emulator.counters.token_requests - began <= 6
        # Somebody's word is tried at once, and mends all mailboxes of the connection soon.
        branch.emulator.state.tokens.faults.clear()
        await branch.ask("POST", "/v1/mailboxes/one/resume", "admin", json={})
        for each in messages[:3]:
            await branch.status(each, "sent")
        await branch.advance(310)
        for each in messages[3:]:
            await branch.advance(1)
            await branch.status(each, "sent")


async def test_a_sender_whose_hour_is_over_does_not_shorten_what_the_token_endpoint_asked_for(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"apps": "*@contoso.test"}, allowed=(BILLING,)) as branch:
        await branch.waits(await branch.post("nobody@contoso.test"), "sender-held")
        branch.emulator.order(TokenFault(status=429, retry_after=1200))
        asked = branch.emulator.counters.token_requests + 1
        await branch.advance(3100)
        await branch.until(lambda: branch.emulator.counters.token_requests == asked)
        for _ in range(40):
            await branch.advance(15)
            await asyncio.sleep(0.01)
        assert await branch.parked("apps%2Fnobody@contoso.test") is None
        assert branch.emulator.counters.token_requests == asked


async def test_short_lives_and_every_trouble_of_the_endpoint_lose_no_message(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"apps": "*@contoso.test"}) as branch:
        branch.emulator.state.tokens.register(branch.app(life=10))
        for trouble in (
            TokenFault(status=500, times=1),
            TokenFault(action=TokenAction.HALF_ANSWER, times=1),
            TokenFault(action=TokenAction.PROXY_PAGE, times=1),
            TokenFault(action=TokenAction.CLOSE, times=1),
            TokenFault(status=429, retry_after=2, times=1),
        ):
            branch.emulator.order(trouble)
            before = len(branch.emulator.accepted)
            posted = [await branch.post(sender) for sender in (BILLING, ALERTS)]
            for _ in range(100):
                await branch.advance(3)
                await asyncio.sleep(0.02)
                if len(branch.emulator.accepted) == before + len(posted):
                    break
            for each in posted:
                await branch.advance(1)
                await branch.status(each, "sent")
        assert branch.refused <= 2  # a token may end between the connection and the sign-in


async def test_a_token_that_ends_while_content_is_on_its_way_harms_nothing(tmp_path: Path) -> None:
    async with open_branch(tmp_path, mailboxes={"one": BILLING}) as branch:
        branch.emulator.order(Fault(phase="dot", action=Action.LATE_REPLY, seconds=20, times=1))
        branch.emulator.state.tokens.register(branch.app(life=10))
        posted = await branch.post(BILLING)
        await branch.until(lambda: branch.emulator.counters.faults)
        await branch.advance(25)
        await branch.status(posted, "sent")
        await branch.status(await branch.post(BILLING), "sent")
        assert branch.refused == 0 and len(branch.emulator.accepted) == 2
