"""A week: 40,000 recipients accepted on day one, one mailbox, restarts, and a tenant that misbehaves every day.

Two tenants behave (one writes to single people, one sends bulk letters to thirty); the third posts its own letters
and, day by day, mail that Exchange refuses: as senders that nobody granted, to people who do not exist, to more people
than a letter of this mailbox may have. The relay is killed in the middle of transactions, twice within a minute, and
once its machine starts anew. ``Week.live`` tells it all; what there is to judge is read from its attributes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.mail.message import Priority
from tests.support.model_exchange import NOWHERE, Account
from tests.support.town import MAILBOX, Tenant, Town

DAY, HOUR, MINUTE = 86_400.0, 3600.0, 60.0
BILLING, NEWS, CRM = "billing@contoso.test", "news@contoso.test", "crm@contoso.test"
TENANTS = (Tenant("billing", share=2, priorities=("urgent", "normal")), Tenant("news"), Tenant("crm"))
#: Subjects of what was accepted on day one begin so; those of urgent letters so.
DAY_ONE, URGENT = "day one", "urgent"
# Exchange lets a letter of this mailbox have fewer recipients than the relay was told.
_RECIPIENTS = 200
# Of a minute's 30, so many are kept for urgent mail.
_KEPT = 5


@dataclass(frozen=True, slots=True)
class Mail:
    """Day one's mail: letters, and how many recipients each has, by tenant."""

    billing: tuple[int, int]
    news: tuple[int, int]
    crm: tuple[int, int]

    @property
    def messages(self) -> int:
        return self.billing[0] + self.news[0] + self.crm[0]

    @property
    def recipients(self) -> int:
        return sum(count * each for count, each in (self.billing, self.news, self.crm))


LONG = Mail(billing=(6000, 1), news=(1000, 30), crm=(2000, 2))
SHORT = Mail(billing=(1000, 4), news=(1000, 30), crm=(240, 25))


def account() -> Account:
    """Return the mailbox as Exchange has it: no ``guess…@`` is granted."""
    return Account(MAILBOX, (BILLING, NEWS, CRM, "lists*@contoso.test"), recipients=_RECIPIENTS)


class Week:
    """See the module's promise; ``days`` of it, in a town of these ``TENANTS``."""

    def __init__(self, town: Town, mail: Mail, days: int) -> None:
        self.town = town
        self.mail = mail
        self.days = days
        self.began = asyncio.get_running_loop().time()
        self.restarts = 0
        self.amid = 0  # restarts while a transaction was at its dot
        self.settled_after: float | None = None  # seconds until day one's mail was settled
        self.left: list[int] = []  # of day one's mail, what waited at the end of each day

    async def live(self) -> None:
        """Live through it."""
        await self._accept()
        for at, act in sorted(self._plan(), key=lambda each: each[0]):
            await asyncio.sleep(max(0.0, at - self.town.clock.passed))
            await act()

    # ------------------------------------------------------------ what happens

    def _plan(self) -> list[tuple[float, Callable[[], Awaitable[object]]]]:
        """Return what happens when, in seconds since the week began."""
        plan: list[tuple[float, Callable[[], Awaitable[object]]]] = [
            (10 * MINUTE, self._killed),
            (3 * HOUR, self._killed),
            (DAY + 7 * MINUTE, self._killed),
            (2 * DAY + 9 * MINUTE, self._machine_starts_anew),
            (3 * DAY + 75 * MINUTE, self._killed),
            (3 * DAY + 75 * MINUTE, self._killed),  # at once again: the first one's windows still count
            (4 * DAY + 2 * HOUR, self._killed),
        ]
        for day in range(self.days):
            begin = day * DAY
            plan += [(begin + hour * HOUR + 1.0, self._urgent) for hour in range(24)]
            # The minute is full but for what is kept for urgent mail: that much comes at once.
            plan += [(begin + 4 * MINUTE, self._urgent)] * _KEPT
            plan += [(begin + hour * HOUR, self._look) for hour in range(1, 24)]
            plan.append((begin + DAY - 1.0, self._end_of_day))
            plan += self._misdeeds(day, begin)
        return plan

    def _misdeeds(self, day: int, begin: float) -> list[tuple[float, Callable[[], Awaitable[object]]]]:
        def guess() -> Awaitable[object]:
            return self.town.post("crm", sender=f"guess{day}@contoso.test", subject="a guess")

        def to_many() -> Awaitable[object]:
            crowd = [f"p{number}@customer.test" for number in range(_RECIPIENTS + 50)]
            return self.town.post("crm", *crowd, sender=f"lists{day}@contoso.test", subject="a crowd")

        def to_nobody(number: int) -> Callable[[], Awaitable[object]]:
            return lambda: self.town.post("crm", f"n{day}-{number}@{NOWHERE}", sender=CRM, subject="to nobody")

        def to_some(number: int) -> Callable[[], Awaitable[object]]:
            to = ("ann@customer.test", f"s{day}-{number}@{NOWHERE}")
            return lambda: self.town.post("crm", *to, sender=CRM, subject="to some")

        found: list[tuple[float, Callable[[], Awaitable[object]]]] = []
        for number in range(6):
            found.append((begin + 5 * HOUR + number * 3 * MINUTE, guess))
            found.append((begin + 6 * HOUR + number * 3 * MINUTE, to_many))
        for number in range(12):
            # Every second one is posted to the nobody of before: the relay remembers, and does not ask again.
            found.append((begin + 40 * MINUTE + number * 20.0, to_nobody(number // 2)))
            found.append((begin + 9 * HOUR + number * 20.0, to_some(number // 2)))
        return found

    async def _accept(self) -> None:
        posts: list[Callable[[], Awaitable[object]]] = []
        for tenant, sender, (count, each), priority in (
            ("billing", BILLING, self.mail.billing, Priority.NORMAL),
            ("news", NEWS, self.mail.news, Priority.BULK),
            ("crm", CRM, self.mail.crm, Priority.NORMAL),
        ):
            for number in range(count):
                to = [f"{tenant}{number}-{place}@customer.test" for place in range(each)]
                subject = f"{DAY_ONE}: {tenant} {number}"
                posts.append(self._post(tenant, to, sender, priority, subject))
        for first in range(0, len(posts), 200):
            await asyncio.gather(*(post() for post in posts[first : first + 200]))

    def _post(
        self, tenant: str, to: list[str], sender: str, priority: Priority, subject: str
    ) -> Callable[[], Awaitable[object]]:
        return lambda: self.town.post(tenant, *to, sender=sender, priority=priority, subject=subject)

    async def _urgent(self) -> None:
        subject = f"{URGENT} {len(self.town.posted)}"
        await self.town.post("billing", sender=BILLING, priority=Priority.URGENT, subject=subject)

    async def _killed(self, *, reboots: bool = False) -> None:
        """Be killed while a transaction is at its dot, if one begins within a quarter of an hour."""
        diary, end = self.town.account.diary, self.town.clock.passed + 15 * MINUTE
        while (at_dot := diary[-1].dotted is not None and diary[-1].ended is None) is False:
            if self.town.clock.passed > end:
                break
            await asyncio.sleep(0.1)
        self.restarts += 1
        self.amid += at_dot
        await self.town.crash(away=2.0, reboots=reboots)

    async def _machine_starts_anew(self) -> None:
        await self._killed(reboots=True)

    async def _look(self) -> None:
        if self.settled_after is None and not self.waiting(DAY_ONE):
            self.settled_after = self.town.clock.passed

    async def _end_of_day(self) -> None:
        await self._look()
        self.left.append(self.waiting(DAY_ONE))

    # ------------------------------------------------------------ what there is to judge

    def waiting(self, subject: str) -> int:
        """Return how many messages of such a subject are not done."""
        query = "SELECT count(*) FROM messages JOIN letters ON message = seq WHERE work <> 'done' AND subject LIKE ?"
        return int(self.town.rows(query, f"{subject}%")[0][0])

    def results(self, subject: str) -> dict[str, int]:
        """Return how many recipients of such a subject have which result."""
        query = (
            "SELECT result, count(*) FROM recipients JOIN letters ON letters.message = recipients.message "
            "WHERE subject LIKE ? GROUP BY result"
        )
        return {str(result): int(count) for result, count in self.town.rows(query, f"{subject}%")}

    def undone(self) -> dict[tuple[str, str], int]:
        """Return, by tenant and From, how many messages are not done."""
        query = (
            "SELECT name, sender_key, count(*) FROM messages JOIN pairs ON pairs.id = pair "
            "JOIN tenants ON tenants.id = pairs.tenant WHERE work <> 'done' GROUP BY pair"
        )
        return {(str(tenant), str(sender)): int(count) for tenant, sender, count in self.town.rows(query)}

    async def held(self) -> dict[tuple[str, str], str]:
        """Return the senders that the breaker holds and why, as the operators' door tells it."""
        told = (await self.town.ask("GET", "/v1/senders", "admin")).json()["data"]
        return {(each["tenant"], each["from"]): each["held"]["reason"] for each in told if each["held"]}

    def slowest_urgent(self) -> float:
        """Return how long the slowest urgent letter took from its acceptance to its hand-over."""
        done = self.town.handed_over()
        return max(done[each.subject] - each.at for each in self.town.posted if each.subject.startswith(URGENT))

    def tried_unknown(self) -> set[str]:
        """Return the subjects of messages of which an attempt ended without a known answer."""
        query = (
            "SELECT subject FROM letters JOIN attempts ON attempts.message = letters.message WHERE outcome = 'unknown'"
        )
        return {str(subject) for (subject,) in self.town.rows(query)}
