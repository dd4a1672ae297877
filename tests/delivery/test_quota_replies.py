"""Exchange says that a day is full: the message waits, the mailbox stops, and what need not wait goes on."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.lapse import Lapse, run
from tests.support.model_exchange import Account
from tests.support.town import MAILBOX, Posted, Tenant, Town, open_town

HOUR = 3600.0
QUOTA = (554, "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message")
DAILY = (550, "5.1.90 Your message can't be sent because you've reached your daily limit for message recipients")
TRIAL = (550, "5.7.232 Your message can't be sent because your trial tenant exceeded its daily limit")
TENANT = (550, "5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email")
INSIDE, OUTSIDE = "ann@contoso.test", "ann@customer.test"


async def prove(town: Town, *senders: str) -> None:
    posted = [await town.post("shop", sender=sender) for sender in senders]
    await town.until(lambda: all(each.subject in town.handed_over() for each in posted))
    await asyncio.sleep(61)


def transactions(town: Town) -> int:
    return sum(len(account.diary) for account in town.exchange.accounts.values())


async def first_refused(town: Town, reply: tuple[int, str], sender: str = MAILBOX) -> Posted:
    """Post a message that meets this reply."""
    town.account.ordered.append(reply)
    posted = await town.post("shop", OUTSIDE, sender=sender)
    await asyncio.sleep(5)
    return posted


@pytest.mark.parametrize("reply", [QUOTA, DAILY], ids=["SubmissionQuotaExceeded", "5.1.90"])
def test_a_full_day_defers_the_message_and_stops_the_mailbox_until_the_window_has_room(reply: tuple[int, str]) -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop")) as town:
            await prove(town, MAILBOX)
            refused = await first_refused(town, reply)
            told = await town.message("shop", refused)
            assert (told["status"], told["waiting_for"]["code"]) == ("deferred", "mailbox-day-budget")
            assert told["recipients"][0]["result"] == "pending"
            assert "10,000 recipients" in told["recipients"][0]["cause"]
            before = transactions(town)
            later = await town.post("shop")
            assert later.code == "mailbox-day-budget"
            assert later.foretold == pytest.approx(town.clock.passed + HOUR, abs=60)
            await asyncio.sleep(HOUR - 60)
            assert transactions(town) == before
            await town.until(lambda: {refused.subject, later.subject} <= town.handed_over().keys(), limit=2 * HOUR)

    run(story)


@pytest.mark.parametrize("reply", [TRIAL, TENANT], ids=["5.7.232", "5.7.233"])
def test_a_full_day_of_the_organisation_stops_external_mail_of_every_mailbox_and_no_internal(
    reply: tuple[int, str],
) -> None:
    async def story(loop: Lapse) -> None:
        other = "other@contoso.test"
        accounts = (Account(MAILBOX), Account(other))
        async with open_town(loop, Tenant("shop"), accounts=accounts, send_as=()) as town:
            await prove(town, MAILBOX, other)
            refused = await first_refused(town, reply)
            assert (await town.foretold("shop", refused))[1] == "mailbox-day-budget"
            outside = [await town.post("shop", OUTSIDE, sender=sender) for sender in (MAILBOX, other)]
            mixed = await town.post("shop", INSIDE, OUTSIDE, sender=other)
            inside = [await town.post("shop", INSIDE, sender=sender) for sender in (MAILBOX, other)]
            assert {each.code for each in (*outside, mixed)} == {"mailbox-day-budget"}
            assert {each.code for each in inside} == {None}
            await asyncio.sleep(10)
            assert {each.subject for each in inside} <= town.handed_over().keys()
            late = await town.post("shop", INSIDE, sender=other)
            await asyncio.sleep(HOUR - 60)
            kept = {refused.subject, mixed.subject, *(each.subject for each in outside)}
            assert not kept & town.handed_over().keys()
            assert late.subject in town.handed_over()
            await town.until(lambda: kept <= town.handed_over().keys(), limit=2 * HOUR)

    run(story)


@pytest.mark.parametrize("reply", [QUOTA, TENANT], ids=["mailbox", "organisation"])
def test_what_is_foretold_comes_true_for_each_of_three_hundred_that_wait_for_the_day(reply: tuple[int, str]) -> None:
    async def story(loop: Lapse) -> None:
        async with open_town(loop, Tenant("shop")) as town:
            await prove(town, MAILBOX)
            await first_refused(town, reply)
            posted = [await town.post("shop", OUTSIDE) for _ in range(300)]
            await asyncio.sleep(HOUR - 100)
            told = [(each, town.clock.passed, await town.foretold("shop", each)) for each in posted]
            assert {code for _, _, (_, code) in told} == {"mailbox-day-budget"}
            await town.until(lambda: all(each.subject in town.handed_over() for each in posted), limit=HOUR, step=5.0)
            done = town.handed_over()
            for each, at, (foretold, _) in told:
                came = done[each.subject] - at
                assert foretold is not None
                assert abs(foretold - at - came) <= max(5.0, 0.2 * came), each.subject

    run(story)
