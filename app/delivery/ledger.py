"""What a mailbox has used of Exchange's windows, and when the next transaction may begin.

One ledger a mailbox, kept in memory by its owner and rebuilt from the attempt rows at start. It counts on the clock
that never jumps (``Clock.boot``), decides and never waits itself. A transaction occupies the 60-second window from
its first byte until 60 s after its last reply, whatever its outcome: that bounds every instant at which the server
may count it. Recipients count for 24 hours when they were taken or may have been.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.delivery.minute import MINUTE, SLACK, Minute, Place, Rate, rate_of
from app.mail.message import Priority
from app.queue.rows import LedgerRow

DAY = 86_400.0
# An attempt without a reply may have been counted until the aborted connection was noticed at the other end.
NO_REPLY_SECONDS = 5.0
# Taken recipients are kept by the minute: a bucket leaves when its youngest entry is a day old.
_BUCKET = 60.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The windows of one mailbox; 0 means no limit. ``soft_stop`` is the share of the day that a class may use."""

    per_minute: int
    per_day: int
    soft_stop: dict[Priority, float] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Slot:
    """A transaction's place in the windows while it runs; ``place`` None: the minute had no limit when it began."""

    tenant: str
    recipients: int
    began: float
    place: Place | None
    priority: Priority


class Ledger:
    """The windows of one mailbox. All instants are ``Clock.boot`` seconds."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._minute = Minute()
        self._running: set[Slot] = set()
        self._sizes: dict[tuple[str, Priority], float] = {}
        self._usage: Counter[str] = Counter()  # by tenant, of the minute
        # Where the minute has no limit: who leaves it when. Tenants take turns by what they used there, too.
        self._unlimited: deque[tuple[float, str]] = deque()
        self._days: deque[tuple[float, int]] = deque()  # when a bucket of recipients leaves the day; how many
        self._day_used = 0
        self._day_running = 0
        self._day_full_until = -math.inf

    def __repr__(self) -> str:
        minute = f"{self._minute.used()}/{self.budget.per_minute} a minute"
        return f"<Ledger {minute}, {self._day_used}/{self.budget.per_day} a day>"

    # -- facts

    def minute_used(self, now: float) -> int:
        """Return how many transactions occupy the minute."""
        self._forget(now)
        return self._minute.used()

    def day_used(self, now: float) -> int:
        """Return how many recipients occupy the day, those of running transactions included."""
        self._forget(now)
        return self._day_used + self._day_running

    def used_by(self, tenant: str, now: float) -> int:
        """Return how many transactions of a tenant occupy the minute."""
        self._forget(now)
        return self._usage[tenant]

    def ordinary_running(self) -> int:
        """Return how many transactions run that are not urgent."""
        return sum(slot.priority is not Priority.URGENT for slot in self._running)

    def free_share(self, now: float) -> float:
        """Return the free share of the minute, 0 to 1; without a limit, by how much runs."""
        if not self.budget.per_minute:
            return 1.0 - min(0.99, len(self._running) / 100)
        return 1.0 - self.minute_used(now) / self.budget.per_minute

    # -- decisions

    def _rate(self, priority: Priority, reserve: int) -> Rate:
        return rate_of(self.budget.per_minute, reserve, urgent=priority is Priority.URGENT)

    def wait(self, now: float, priority: Priority, recipients: int, reserve: int = 0) -> float:
        """Return in how many seconds a transaction of this class may begin (0: now).

        ``inf`` says that no passing of time alone allows it: a running one must end first. ``reserve`` is what of the
        minute is kept for urgent mail.
        """
        self._forget(now)
        day = self.wait_day(now, priority, recipients)
        if not self.budget.per_minute:
            return day
        urgent = priority is Priority.URGENT
        return max(day, self._minute.wait(now, self._rate(priority, reserve), urgent=urgent))

    def rate(self, priority: Priority, reserve: int) -> Rate | None:
        """Return what a class may use of the minute; None: it has no limit."""
        return self._rate(priority, reserve) if self.budget.per_minute else None

    def rehearse(self, now: float, seconds_each: float) -> tuple[Minute, Counter[str]]:
        """Return copies of the minute and of what each tenant uses of it, to play with.

        What runs is taken to end when it has lasted ``seconds_each``.
        """
        self._forget(now)
        twin = self._minute.copy()
        for slot in self._running:
            if slot.place is not None:
                twin.end(slot.place, max(now, slot.began + seconds_each), slot.tenant)
        return twin, Counter(self._usage)

    def day_full(self, now: float) -> float:
        """Return for how many seconds the server is believed that the day is used up."""
        return max(0.0, self._day_full_until - now)

    def day_turn(self, now: float, priority: Priority, recipients: float) -> float:
        """Return in how many seconds the day has room behind so many ``recipients`` that go before (0: now).

        What leaves the day makes room, which is used up at once and leaves again a day later.
        """
        self._forget(now)
        limit = self.budget.per_day
        if not limit:
            return 0.0
        allowed = max(1, math.floor(limit * self.budget.soft_stop.get(priority, 1.0)))
        days, left = divmod(recipients, allowed)
        left -= allowed - self._day_used - self._day_running
        if left < 0:
            return days * DAY
        for leaves, count in self._days:
            left -= count
            if left < 0:
                return leaves - now + days * DAY
        return (days + 1) * DAY

    def wait_day(self, now: float, priority: Priority, recipients: int) -> float:
        """Return in how many seconds the day has room for so many recipients of this class (0: now)."""
        wait = self.day_full(now)
        limit = self.budget.per_day
        if not limit:
            return wait
        allowed = math.floor(limit * self.budget.soft_stop.get(priority, 1.0))
        over = self._day_used + self._day_running + recipients - allowed
        if over <= 0:
            return wait
        for leaves, count in self._days:
            over -= count
            if over <= 0:
                return max(wait, leaves - now)
        return math.inf if self._day_running else max(wait, DAY)

    # -- moves

    def go_on_with(self, budget: Budget) -> None:
        """Take other limits; what was used stays used, even where it had no limit then."""
        self.budget = budget
        while budget.per_minute and self._unlimited:
            leaves, tenant = self._unlimited.popleft()
            self._minute.occupy(Place.BURST, leaves - MINUTE, tenant)

    def begin(
        self, now: float, tenant: str, recipients: int, priority: Priority = Priority.NORMAL, reserve: int = 0
    ) -> Slot:
        """Occupy the windows for a transaction that is about to begin."""
        place = None
        if self.budget.per_minute:
            urgent = priority is Priority.URGENT
            place = self._minute.begin(now, self._rate(priority, reserve), urgent=urgent)
        slot = Slot(tenant, recipients, now, place, priority)
        self._running.add(slot)
        self._usage[tenant] += 1
        self._day_running += recipients
        return slot

    def resize(self, slot: Slot, recipients: int) -> None:
        """State how many recipients the transaction has, now that its message is known."""
        self._day_running += recipients - slot.recipients
        slot.recipients = recipients
        crowd = (slot.tenant, slot.priority)
        before = self._sizes.get(crowd, float(recipients))
        self._sizes[crowd] = before + (recipients - before) / 8

    def usual_size(self, tenant: str, priority: Priority) -> float:
        """Return how many recipients a message of a tenant and class usually has, as a moving average."""
        return self._sizes.get((tenant, priority), 1.0)

    def give_back(self, slot: Slot) -> None:
        """Free a place of which nothing has been used: not a byte was written."""
        self._running.discard(slot)
        self._day_running -= slot.recipients
        self._count_out(slot.tenant)
        if slot.place is not None:
            self._minute.give_back(slot.place)

    def end(self, slot: Slot, now: float, charged: int, *, replied: bool) -> None:
        """Let a transaction leave the minute 60 s from now, and charge what was (or may have been) taken."""
        if slot not in self._running:
            return
        self._running.discard(slot)
        self._day_running -= slot.recipients
        at = now if replied else now + NO_REPLY_SECONDS
        if slot.place is not None:
            self._minute.end(slot.place, at, slot.tenant)
        elif self.budget.per_minute:  # there was no limit when it began
            self._minute.occupy(Place.BURST, at, slot.tenant)
        else:
            self._unlimited.append((now + MINUTE, slot.tenant))
        self.charge(now, charged)

    def fill_day(self, until: float) -> None:
        """Believe the server that the day is used up: nothing begins before ``until``."""
        self._day_full_until = max(self._day_full_until, until)

    def day_room(self, now: float, priority: Priority, at_most: int, slot: Slot) -> int:
        """Return how many recipients the transaction in ``slot`` may have, ``at_most`` them (0: no limit)."""
        if not self.budget.per_day:
            return at_most
        self._forget(now)
        allowed = math.floor(self.budget.per_day * self.budget.soft_stop.get(priority, 1.0))
        room = max(1, allowed - self._day_used - self._day_running + slot.recipients)
        return min(room, at_most) if at_most else room

    def day_room_at(self, now: float) -> float | None:
        """Return when the day has room again, if it is used up for normal mail."""
        wait = self.wait_day(now, Priority.NORMAL, 1)
        return now + wait if 0 < wait < math.inf else None

    def restore(self, rows: Iterable[LedgerRow], *, boot_id: str, boot: float, now: datetime) -> None:
        """Rebuild the windows from attempt rows.

        Of this boot the rows say exactly when. Attempts of another boot count as made at this start, unless the wall
        clock puts them an hour back or more; an hour is taken off their age, since a wall clock may have jumped by it.
        """
        placed = sorted(((self._placed(row, boot_id, boot, now), row) for row in rows), key=lambda pair: pair[0])
        rate = self._rate(Priority.NORMAL, 0) if self.budget.per_minute else None
        for at, row in placed:
            if rate is not None and at + MINUTE + SLACK > boot:
                place = Place.BURST if self._minute.used() < rate.burst else Place.SPACED
                self._minute.restore(place, at, "")
                self._usage[""] += 1
            self.charge(at, row.charged)
        self._forget(boot)

    @staticmethod
    def _placed(row: LedgerRow, boot_id: str, boot: float, now: datetime) -> float:
        if row.boot_id == boot_id:
            return row.ended_boot if row.ended_boot is not None else boot + NO_REPLY_SECONDS
        age = now - (row.ended_at or row.started_at)
        return boot - max(0.0, (age - timedelta(hours=1)).total_seconds())

    def charge(self, at: float, count: int) -> None:
        """Count recipients that were (or may have been) taken at an instant for the day."""
        if not count:
            return
        leaves = (math.floor(at / _BUCKET) + 1) * _BUCKET + DAY
        if self._days and self._days[-1][0] >= leaves:
            self._days[-1] = (self._days[-1][0], self._days[-1][1] + count)
        else:
            self._days.append((leaves, count))
        self._day_used += count

    def _forget(self, now: float) -> None:
        for tenant in self._minute.forget(now):
            self._count_out(tenant)
        while self._unlimited and self._unlimited[0][0] <= now:
            self._count_out(self._unlimited.popleft()[1])
        while self._days and self._days[0][0] <= now:
            self._day_used -= self._days.popleft()[1]

    def _count_out(self, tenant: str) -> None:
        self._usage[tenant] -= 1
        if self._usage[tenant] <= 0:
            del self._usage[tenant]
