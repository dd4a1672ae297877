"""The same promise over the real wire: a day and more towards the emulator, with TLS and sign-in, killed on the way."""

from __future__ import annotations

import asyncio

from app.emulator import Account as Login
from app.emulator import Emulator, Limits
from app.mail.message import Priority
from tests.support.lapse import Lapse, LapseClock, run
from tests.support.model_exchange import Account
from tests.support.town import MAILBOX, Tenant, Town, open_town
from tests.week.figures import DAY, MINUTE, busiest

PER_DAY = 500
LIMITS = Limits(recipients_per_day=PER_DAY)


async def accept(town: Town) -> None:
    """Have 150 letters to one and 90 bulk letters to five people accepted at once."""
    for tenant in ("billing", "news"):
        await town.post(tenant)
    await asyncio.sleep(5)
    for number in range(150):
        await town.post("billing", f"b{number}@customer.test")
        if number < 90:
            to = [f"n{number}-{place}@customer.test" for place in range(5)]
            await town.post("news", *to, priority=Priority.BULK)


def test_towards_the_emulator_no_limit_is_met_and_everything_goes() -> None:
    async def story(loop: Lapse) -> None:
        clock = LapseClock(loop, grain=60.0)
        async with Emulator([Login(MAILBOX, "secret-5")], limits=LIMITS, clock=clock) as emulator:
            authority = f'port = {emulator.port}\nca_file = "ca.pem"'
            limits = f"recipients_per_day = {PER_DAY}"
            async with open_town(
                loop, Tenant("billing"), Tenant("news"), accounts=(Account(MAILBOX),), clock=clock, hop=authority,
                limits=limits, files={"ca.pem": emulator.ca_pem},
            ) as town:  # fmt: skip
                await accept(town)
                for wait in (2 * MINUTE, 1.0, 4 * MINUTE, DAY):
                    await asyncio.sleep(wait)
                    await town.crash(away=1.0, reboots=wait == DAY)
                query = "SELECT count(*) FROM messages WHERE work <> 'done'"
                await town.until(lambda: town.rows(query) == [(0,)], 2 * DAY, step=600.0)
                assert town.rows("SELECT DISTINCT result FROM recipients") == [("sent",)]
            assert emulator.counters.limits == {}
            seen = emulator.counters.logins[MAILBOX]
            assert seen.max_sessions_open <= LIMITS.sessions
            assert seen.max_transactions_per_minute <= LIMITS.messages_per_minute
            taken = [(each.at.timestamp(), len(each.rcpt_tos)) for each in emulator.accepted]
            assert sum(count for _, count in taken) >= 602
            assert max(count for _, count in busiest(taken, DAY)) <= PER_DAY

    run(story)
