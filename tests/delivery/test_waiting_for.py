"""Why a message is late: one story for each word of ``waiting_for``, told at the real doors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from app.mail.transaction import ConnectTrouble
from tests.support.lapse import Lapse, run
from tests.support.model_exchange import Account
from tests.support.town import MAILBOX, Tenant, Town, open_town

# A message as the doors tell it.
Told = dict[str, Any]


async def post(town: Town, *, sender: str = MAILBOX, **more: object) -> Told:
    letter = {"from": sender, "to": ["ann@customer.test"], "subject": "Hello", "text": "Hello", **more}
    answer = await town.ask("POST", "/v1/messages", "shop", json=letter)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def get(town: Town, posted: Told) -> Told:
    return (await town.ask("GET", f"/v1/messages/{posted['id']}", "shop")).json()


async def operate(town: Town, path: str, body: object = None) -> None:
    answer = await town.ask("POST", path, "admin", json=body)
    assert answer.status_code == 200, answer.text


async def prove(town: Town) -> None:
    posted = await town.post("shop")
    await town.until(lambda: posted.subject in town.handed_over())
    await asyncio.sleep(61)


# Each story returns a message that waits, as the 202 or a GET tells it.


async def minute(town: Town) -> Told:
    for _ in range(40):
        told = await post(town)
    return told


async def day(town: Town) -> Told:
    for _ in range(20):
        await post(town)
    await asyncio.sleep(30)
    return await post(town)


async def parked(town: Town) -> Told:
    await operate(town, "/v1/mailboxes/noreply/park", {})
    return await post(town)


async def connection(town: Town) -> Told:
    desk = town.service.engine.desks["noreply"]
    desk.sessions.abort()
    desk.sessions = town.exchange.line(MAILBOX)
    desk.sessions.trouble = ConnectTrouble("timeout", "smtp.test does not answer")
    posted = await post(town)
    await asyncio.sleep(20)
    return await get(town, posted)


async def denied(town: Town) -> Told:
    for _ in range(2):
        await post(town, sender="guess@contoso.test")
        await asyncio.sleep(5)
    return await post(town, sender="guess@contoso.test")


async def unproven(town: Town) -> Told:
    await post(town, sender="new@contoso.test")
    behind = await post(town, sender="new@contoso.test")
    await asyncio.sleep(0.3)
    return await get(town, behind)


async def paused(town: Town) -> Told:
    await operate(town, "/v1/tenants/shop/pause")
    return await post(town)


async def held(town: Town) -> Told:
    posted = await post(town, scheduled_at=(town.clock.now() + timedelta(hours=1)).isoformat())
    await operate(town, "/v1/queue/hold", {"tenant": "shop"})
    return await get(town, posted)


async def retry(town: Town) -> Told:
    town.account.ordered.append((451, "4.7.500 Server busy. Please try again later"))
    posted = await post(town)
    await asyncio.sleep(2)
    return await get(town, posted)


async def scheduled(town: Town) -> Told:
    return await post(town, scheduled_at=(town.clock.now() + timedelta(hours=1)).isoformat())


# (story, code, whether there is an estimate, whether it says until when)
STORIES = [
    (minute, "mailbox-minute-budget", True, False),
    (day, "mailbox-day-budget", True, True),
    (parked, "mailbox-parked", False, False),
    (connection, "connection", True, True),
    (denied, "sender-held", False, False),
    (unproven, "sender-unproven", True, False),
    (paused, "tenant-paused", False, False),
    (held, "held", False, False),
    (retry, "retry-wait", True, True),
    (scheduled, "scheduled", True, True),
]


@pytest.mark.parametrize(
    ("tell", "code", "has_estimate", "has_until"), STORIES, ids=[code for _, code, _, _ in STORIES]
)
def test_a_message_that_waits_says_why(
    tell: Callable[[Town], Awaitable[Told]], code: str, has_estimate: bool, has_until: bool
) -> None:
    async def story(loop: Lapse) -> None:
        account = Account(MAILBOX, ("new@contoso.test",))
        limits = "recipients_per_day = 20" if code == "mailbox-day-budget" else ""
        async with open_town(loop, Tenant("shop"), accounts=(account,), limits=limits) as town:
            await prove(town)
            told = await tell(town)
            waiting = told["waiting_for"]
            assert waiting["code"] == code
            assert waiting["text"]
            assert (told["estimated_send_at"] is not None, "until" in waiting) == (has_estimate, has_until)

    run(story)


def test_every_message_that_nobody_holds_up_has_an_estimate_until_it_is_done() -> None:
    """Also the one that is under way, and the first one of a mailbox that has never sent."""

    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop")) as town:
            posted = await post(town)
            assert posted["estimated_send_at"] is not None
            while (told := await get(town, posted))["status"] != "sent":
                assert told["estimated_send_at"] is not None, told
                await asyncio.sleep(0.1)
            assert (told["estimated_send_at"], told["waiting_for"]) == (None, None)

    run(story)
