"""Several mailboxes for one From: they share its load by free budget, and one that is parked is passed over at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.lapse import Lapse, run
from tests.support.model_exchange import Account
from tests.support.town import Tenant, Town, open_town

SALES = "sales@contoso.test"


def two() -> tuple[Account, Account]:
    return Account("one@contoso.test", (SALES,)), Account("two@contoso.test", (SALES,))


def taken(town: Town, since: float, until: float) -> Counter[str]:
    """Count what each mailbox was handed between two instants of the story."""
    base = asyncio.get_running_loop().time() - town.clock.passed
    return Counter(
        account.address.partition("@")[0]
        for account in town.exchange.accounts.values()
        for each in account.diary
        if each.dotted is not None and since <= each.dotted - base < until
    )


async def prove(town: Town) -> None:
    posted = await town.post("shop", sender=SALES)
    await town.until(lambda: posted.subject in town.handed_over())
    await asyncio.sleep(61)


def test_two_mailboxes_of_thirty_a_minute_send_sixty_together_half_each() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop"), accounts=two(), send_as=(SALES,)) as town:
            await prove(town)
            for _ in range(700):
                await town.post("shop", sender=SALES)
            await asyncio.sleep(601)
            for minute in range(1, 10):
                counts = taken(town, 62 + 60 * minute, 122 + 60 * minute)
                assert 54 <= counts.total() <= 66, counts
            whole = taken(town, 62, 662)
            assert abs(whole["one"] - whole["two"]) <= 0.1 * whole.total() / 2, whole
            assert town.exchange.verdicts() == {"ok"}

    run(story)


def test_a_parked_mailbox_is_passed_over_at_once_and_takes_its_share_again_when_resumed() -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop"), accounts=two(), send_as=(SALES,)) as town:
            await prove(town)
            for _ in range(400):
                await town.post("shop", sender=SALES)
            await asyncio.sleep(120)
            assert (await town.ask("POST", "/v1/mailboxes/one/park", "admin", json={})).status_code == 200
            parked_at = town.clock.passed
            await asyncio.sleep(180)
            # What was under way when it was parked has ended, and nothing more began.
            assert taken(town, parked_at + 1, parked_at + 180)["one"] == 0
            assert taken(town, parked_at + 60, parked_at + 180)["two"] >= 58
            assert (await town.ask("POST", "/v1/mailboxes/one/resume", "admin", json={})).status_code == 200
            resumed_at = town.clock.passed
            late = await town.post("shop", sender=SALES)
            await asyncio.sleep(60)
            assert taken(town, resumed_at, resumed_at + 60)["one"] >= 27
            await town.until(lambda: late.subject in town.handed_over())

    run(story)
