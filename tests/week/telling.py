"""Lives a week, judges it and tells it: what CI asserts, and what ``make week`` prints besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.support.lapse import Lapse, LapseClock
from tests.support.model_exchange import THROTTLES
from tests.support.town import open_town
from tests.week.figures import days, most_refusals, table
from tests.week.story import DAY, DAY_ONE, TENANTS, URGENT, Mail, Week, account

# A housekeeping loop that looks once a second would look 600,000 times in a week.
_GRAIN = 60.0


async def lived(loop: Lapse, mail: Mail, number_of_days: int, say: Callable[[str], None]) -> None:
    """Live so many days of the week with this mail; raises ``AssertionError`` where a promise was broken."""
    clock = LapseClock(loop, _GRAIN)
    async with open_town(loop, *TENANTS, accounts=(account(),), lifetime="168h", clock=clock) as town:
        week = Week(town, mail, number_of_days)
        await week.live()
        tell(week, await week.held(), say)
        judge(week, await week.held())


def tell(week: Week, held: dict[tuple[str, str], str], say: Callable[[str], None]) -> None:
    """Tell what the week came to."""
    mail, mailbox = week.mail, week.town.account
    say(f"accepted on day one: {mail.messages:,} messages to {mail.recipients:,} recipients")
    say(f"restarts: {week.restarts}, of them {week.amid} while a message was at its dot")
    say(table(days(mailbox, week.began, week.began + week.days * DAY - 1)))
    settled = f"after {week.settled_after / DAY:.2f} days" if week.settled_after is not None else "never"
    say(f"day one's mail settled {settled}; waiting at the end of each day: {week.left}")
    say(f"slowest of the urgent letters, one an hour: {week.slowest_urgent():.1f} s")
    say(f"most refusals of a family within ten minutes: {most_refusals(mailbox)}")
    say(f"most sessions at once: {mailbox.most_sessions}")
    say("the breaker holds:")
    for (tenant, sender), count in sorted(week.undone().items()):
        say(f"  {tenant} {sender}: {count} messages, {held.get((tenant, sender), 'NOT HELD')}")


def judge(week: Week, held: dict[tuple[str, str], str]) -> None:
    """Raise ``AssertionError`` where a promise was broken."""
    mailbox = week.town.account
    assert week.mail.recipients == 40_000
    assert not week.town.exchange.verdicts() & THROTTLES
    for day in days(mailbox, week.began, week.began + week.days * DAY - 1):
        minute = (day.minute_by_first_byte, day.minute_by_dot, day.minute_occupied, day.minute_of_clock)
        assert max(minute) <= mailbox.per_minute, day
        assert day.recipients_in_24h <= mailbox.per_day, day
        assert day.at_once <= mailbox.sessions, day
    assert mailbox.most_sessions <= mailbox.sessions
    assert max(most_refusals(mailbox).values()) <= 3
    assert week.settled_after is not None
    assert week.settled_after <= 5 * DAY
    assert week.results(DAY_ONE) == {"sent": 40_000}
    assert week.results("to nobody").keys() == {"rejected"}
    assert week.results("to some").keys() == {"sent", "rejected"}
    assert set(week.undone()) <= set(held)
    assert week.slowest_urgent() <= 5.0
    copies = Counter(each.subject for each in mailbox.diary if each.verdict == "ok")
    twice = {subject for subject, count in copies.items() if count > 1 and subject.startswith((DAY_ONE, URGENT))}
    assert twice <= week.tried_unknown()
    assert all(copies[subject] == 2 for subject in twice)
    assert week.amid >= 3
