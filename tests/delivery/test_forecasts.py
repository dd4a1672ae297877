"""What a 202 and a GET foretell comes true within a fifth of the wait or five seconds, with 300 messages waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from app.mail.message import Priority
from tests.support.lapse import Lapse, LapseClock, run
from tests.support.model_exchange import Account
from tests.support.town import MAILBOX, Posted, Tenant, Town, open_town


@dataclass(frozen=True, slots=True)
class Crowd:
    """Messages of one tenant that come at once."""

    tenant: str
    count: int
    sender: str = MAILBOX
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Told:
    """What was foretold of a message at an instant (seconds since the story began)."""

    posted: Posted
    at: float
    foretold: float | None


def misses(town: Town, told: Sequence[Told]) -> list[str]:
    """Return what did not come true."""
    done = town.handed_over()
    found = []
    for each in told:
        came = done[each.posted.subject]
        if each.foretold is None or abs(each.foretold - came) > max(5.0, 0.2 * (came - each.at)):
            said = "never" if each.foretold is None else f"in {each.foretold - each.at:.1f} s"
            found.append(f"{each.posted.subject} at {each.at:.0f}: {said}, came in {came - each.at:.1f} s")
    return found


async def prove(town: Town, *pairs: tuple[str, str]) -> None:
    """Let each (tenant, From) pair succeed once, and a minute pass."""
    posted = [await town.post(tenant, sender=sender) for tenant, sender in pairs]
    await town.until(lambda: all(each.subject in town.handed_over() for each in posted))
    await asyncio.sleep(61)


async def ask_all(town: Town, posted: Sequence[tuple[str, Posted]]) -> list[Told]:
    """Ask for every message that waits still."""
    done = town.handed_over()
    found = []
    for tenant, each in posted:
        if each.subject not in done:
            found.append(Told(each, town.clock.passed, (await town.foretold(tenant, each))[0]))
    return found


async def come_and_wait(town: Town, *crowds: Crowd, looks: Sequence[float] = (0.0, 7.0, 45.0, 200.0)) -> list[str]:
    """Post crowds at once, ask about every message when it is accepted and at each look, wait; return the misses."""
    posted: list[tuple[str, Posted]] = []
    told = []
    for crowd in crowds:
        for _ in range(crowd.count):
            each = await town.post(crowd.tenant, sender=crowd.sender, priority=crowd.priority)
            posted.append((crowd.tenant, each))
            if crowd is crowds[-1]:
                told.append(Told(each, each.at, each.foretold))
    began = town.clock.passed
    for look in looks:
        await asyncio.sleep(began + look - town.clock.passed)
        told += await ask_all(town, posted)
    await town.until(lambda: all(each.subject in town.handed_over() for _, each in posted), 4 * 3600.0, step=5.0)
    return misses(town, told)


CASES = {
    "one tenant": (
        (Tenant("shop"),), [Crowd("shop", 300)]),
    "one tenant with the urgent reserve": (
        (Tenant("shop"), Tenant("codes", priorities=("urgent", "normal"))), [Crowd("shop", 300)]),
    "three tenants": (
        (Tenant("a"), Tenant("b"), Tenant("c")), [Crowd("a", 100), Crowd("b", 100), Crowd("c", 100)]),
    "three tenants of different sizes": (
        (Tenant("a"), Tenant("b"), Tenant("c")), [Crowd("a", 200), Crowd("b", 80), Crowd("c", 20)]),
    "shares of three to one": (
        (Tenant("a", share=3), Tenant("b")), [Crowd("a", 150), Crowd("b", 150)]),
    "two senders of one tenant": (
        (Tenant("a"), Tenant("b")),
        [Crowd("b", 60), Crowd("a", 120, "one@contoso.test"), Crowd("a", 120, "two@contoso.test")]),
    "bulk behind normal": (
        (Tenant("a"), Tenant("b")), [Crowd("a", 150), Crowd("b", 150, priority=Priority.BULK)]),
    "normal before bulk": (
        (Tenant("a"), Tenant("b")), [Crowd("b", 200, priority=Priority.BULK), Crowd("a", 100)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_foretold_of_three_hundred_waiting_comes_true(case: str) -> None:
    tenants, crowds = CASES[case]

    async def story(loop: Lapse) -> None:
        account = Account(MAILBOX, ("*@contoso.test",))
        async with open_town(loop, *tenants, accounts=(account,)) as town:
            await prove(town, *dict.fromkeys((crowd.tenant, crowd.sender) for crowd in crowds))
            found = await come_and_wait(town, *crowds)
            assert not found, f"{len(found)} of them: {found[:: max(1, len(found) // 12)]}"

    run(story)


def test_what_is_foretold_comes_true_while_two_tenants_keep_posting() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("a", share=2), Tenant("b")) as town:
            await prove(town, ("a", MAILBOX), ("b", MAILBOX))
            posted: list[tuple[str, Posted]] = []
            told: list[Told] = []
            for number in range(300):
                tenant = "a" if number % 3 else "b"
                posted.append((tenant, await town.post(tenant)))
                await asyncio.sleep(0.9)
                if number % 60 == 59:
                    told += [each for each in await ask_all(town, posted) if each.foretold is None]
            told += await ask_all(town, posted)
            await town.until(lambda: all(each.subject in town.handed_over() for _, each in posted), step=5.0)
            assert not misses(town, told)

    run(story)


def test_what_is_foretold_comes_true_where_two_mailboxes_share_a_load() -> None:
    async def story(loop: Lapse) -> None:
        sales = "sales@contoso.test"
        accounts = [Account(f"{name}@contoso.test", (sales,)) for name in ("one", "two")]
        async with open_town(loop, Tenant("a"), Tenant("b"), accounts=accounts, send_as=(sales,)) as town:
            await prove(town, ("a", sales), ("b", sales))
            assert not await come_and_wait(town, Crowd("a", 150, sender=sales), Crowd("b", 150, sender=sales))

    run(story)


@pytest.mark.parametrize(("size", "count", "per_day"), [(1, 400, 300), (30, 250, 3000)])
def test_the_days_budget_is_foretold_by_recipients_and_not_by_messages(size: int, count: int, per_day: int) -> None:
    async def story(loop: Lapse) -> None:
        account = Account(MAILBOX, per_day=per_day)
        clock = LapseClock(loop, grain=60.0)
        to = [f"p{place}@customer.test" for place in range(size)]
        limits = f"recipients_per_day = {per_day}"
        async with open_town(
            loop, Tenant("a"), accounts=(account,), lifetime="240h", clock=clock, limits=limits
        ) as town:
            await town.post("a", *to)
            await asyncio.sleep(70)
            posted = [await town.post("a", *to) for _ in range(count)]
            await asyncio.sleep(1200)
            told = await ask_all(town, [("a", each) for each in posted])
            assert told
            assert {(await town.foretold("a", each.posted))[1] for each in told} == {"mailbox-day-budget"}
            await town.until(
                lambda: all(each.subject in town.handed_over() for each in posted), 8 * 86_400.0, step=600.0
            )
            assert not misses(town, told)
            assert town.exchange.verdicts() == {"ok"}

    run(story)


def test_mail_that_does_not_go_yet_goes_before_nobody_in_what_is_foretold() -> None:
    """Scheduled mail, a paused tenant's, a held sender's."""

    async def story(loop: Lapse) -> None:
        account = Account(MAILBOX, ("ok@contoso.test",))
        async with open_town(loop, Tenant("a"), Tenant("paused"), accounts=(account,)) as town:
            await prove(town, ("a", MAILBOX), ("paused", MAILBOX))
            tomorrow = town.clock.now() + timedelta(days=1)
            for _ in range(2):
                await town.post("a", sender="guess@contoso.test")
                await asyncio.sleep(70)
            assert (await town.ask("POST", "/v1/tenants/paused/pause", "admin")).status_code == 200
            for _ in range(200):
                await town.post("a", scheduled_at=tomorrow)
                await town.post("a", sender="guess@contoso.test")
                await town.post("paused")
            posted = [await town.post("a") for _ in range(60)]
            told = [Told(each, each.at, each.foretold) for each in posted]
            await asyncio.sleep(10)
            told += await ask_all(town, [("a", each) for each in posted])
            await town.until(lambda: all(each.subject in town.handed_over() for each in posted), step=5.0)
            assert not misses(town, told)
            kept = next(each for each in reversed(town.posted) if each.subject.startswith("paused"))
            assert await town.foretold("paused", kept) == (None, "tenant-paused")

    run(story)


def test_what_is_foretold_comes_true_after_a_restart_too() -> None:
    """Also beside mail that was scheduled before it."""

    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("a"), Tenant("b")) as town:
            await prove(town, ("a", MAILBOX), ("b", MAILBOX))
            tomorrow = town.clock.now() + timedelta(days=1)
            for tenant in ("a", "b"):
                for _ in range(100):
                    await town.post(tenant, scheduled_at=tomorrow)
            posted = [(tenant, await town.post(tenant)) for _ in range(100) for tenant in ("a", "b")]
            await asyncio.sleep(20)
            await town.crash()
            told = await ask_all(town, posted)
            await asyncio.sleep(70)
            told += await ask_all(town, posted)
            await town.until(lambda: all(each.subject in town.handed_over() for _, each in posted), step=5.0)
            assert len(told) > 200
            assert not misses(town, told)

    run(story)
