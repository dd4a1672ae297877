"""Fairness under one mailbox, told over hours: what a flood does to others, and what shares are worth."""

from __future__ import annotations

import asyncio

import pytest

from app.mail.message import Priority
from tests.support.lapse import Lapse, run
from tests.support.town import Tenant, Town, open_town


async def prove(town: Town, *tenants: str) -> None:
    """Let each tenant's sender succeed once, and a minute pass: of one that never has, one message goes at a time."""
    posted = [await town.post(tenant) for tenant in tenants]
    await town.until(lambda: all(each.subject in town.handed_over() for each in posted))
    await asyncio.sleep(61)


def waits(town: Town, prefix: str) -> list[float]:
    """Return how long after its 202 each message was handed over that has been, by the start of its subject."""
    done = town.handed_over()
    return [
        done[each.subject] - each.at for each in town.posted if each.subject.startswith(prefix) and each.subject in done
    ]


def test_an_hours_flood_of_one_tenant_delays_no_message_of_another_by_ten_seconds() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("flood"), Tenant("calm")) as town:
            await prove(town, "flood", "calm")
            began = town.clock.passed
            for _ in range(2000):
                await town.post("flood")
            for _ in range(600):
                await town.post("calm")
                await asyncio.sleep(6)
            await asyncio.sleep(10)
            calm = waits(town, "calm")
            assert len(calm) == 601
            assert max(calm) <= 10.0
            hour = [at for at in town.handed_over().values() if began <= at < began + 3600]
            assert len(hour) >= 0.97 * 30 * 60  # and nothing of the mailbox's pace was lost by it
            assert town.exchange.verdicts() == {"ok"}

    run(story)


@pytest.mark.parametrize("after", [0.0, 3.0, 31.0, 59.0, 400.0])
def test_five_urgent_messages_go_within_three_seconds_behind_five_thousand_bulk(after: float) -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("crowd"), Tenant("codes", priorities=("urgent", "normal"))) as town:
            await prove(town, "crowd", "codes")
            bulk = 5000 if after == 3.0 else 500
            await asyncio.gather(*(town.post("crowd", priority=Priority.BULK) for _ in range(bulk)))
            await asyncio.sleep(after)
            for number in range(5):
                await town.post("codes", priority=Priority.URGENT, subject=f"urgent-{number}")
            await asyncio.sleep(5)
            urgent = waits(town, "urgent")
            assert len(urgent) == 5
            assert max(urgent) <= 3.0
            assert town.exchange.verdicts() == {"ok"}

    run(story)


def test_of_two_floods_the_one_of_twice_the_share_gets_twice_as_much_over_an_hour() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("double", share=2), Tenant("single")) as town:
            await prove(town, "double", "single")
            began = town.clock.passed
            for _ in range(1500):
                await town.post("double")
                await town.post("single")
            await asyncio.sleep(3600 - (town.clock.passed - began))
            counts = {name: len(waits(town, name)) - 1 for name in ("double", "single")}
            assert 1.9 <= counts["double"] / counts["single"] <= 2.1, counts
            assert sum(counts.values()) >= 0.97 * 30 * 60

    run(story)


def test_the_session_kept_for_urgent_mail_goes_on_with_nothing_else() -> None:
    async def story(loop: Lapse) -> None:
        limits = "messages_per_minute = 0"
        async with open_town(
            loop, Tenant("crowd"), Tenant("codes", priorities=("urgent", "normal")), limits=limits
        ) as town:
            await prove(town, "crowd", "codes")
            desk = town.service.engine.desks["noreply"]
            for _ in range(300):
                await town.post("crowd")
            seen = set()
            for number in range(200):
                if number % 10 == 0:
                    await town.post("codes", priority=Priority.URGENT, subject=f"urgent-{number}")
                await asyncio.sleep(0.07)
                seen.add(desk.ledger.ordinary_running())
            assert max(seen) == 2

    run(story)
