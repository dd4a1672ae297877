"""What a week came to at the next hop, computed from its diary alone: peaks of every window, day by day, as a table.

Nothing here asks the relay or its ledger. Each window is looked at in every way in which a server could count it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.support.model_exchange import Account, Seen

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
TEN_MINUTES = 600.0


def busiest(instants: Iterable[tuple[float, int]], span: float) -> list[tuple[float, int]]:
    """Return, for each instant, the sum of the counts within the ``span`` that ends with it, both ends counted in."""
    found: list[tuple[float, int]] = []
    ordered = sorted(instants)
    first, total = 0, 0
    for at, count in ordered:
        total += count
        while ordered[first][0] <= at - span:
            total -= ordered[first][1]
            first += 1
        found.append((at, total))
    return found


def occupied(diary: Sequence[Seen]) -> list[tuple[float, int]]:
    """Return, at each first byte, how many transactions a server may count: begun, and not ended for a minute."""
    ends = sorted((each.ended or each.began) + MINUTE for each in diary)
    return [
        (each.began, place + 1 - bisect_right(ends, each.began))
        for place, each in enumerate(sorted(diary, key=lambda each: each.began))
    ]


def at_once(diary: Sequence[Seen]) -> list[tuple[float, int]]:
    """Return how many transactions were under way at each first byte."""
    ends = sorted(each.ended or each.began for each in diary)
    return [
        (each.began, place + 1 - bisect_right(ends, each.began))
        for place, each in enumerate(sorted(diary, key=lambda each: each.began))
    ]


@dataclass(frozen=True, slots=True)
class Day:
    """The figures of one day; a window belongs to the day in which it ends."""

    number: int
    messages: int
    recipients: int
    minute_by_first_byte: int
    minute_by_dot: int
    minute_occupied: int
    minute_of_clock: int
    recipients_in_24h: int
    at_once: int
    refused: Counter[str]
    cut: int


def days(account: Account, began: float, until: float) -> list[Day]:
    """Return the figures of each day of an account's diary."""
    diary = account.diary
    taken = [each for each in diary if each.verdict == "ok"]
    windows = {
        "first": busiest(((each.began, 1) for each in diary), MINUTE),
        "dot": busiest(((each.dotted, 1) for each in diary if each.dotted is not None), MINUTE),
        "occupied": occupied(diary),
        # Either way of reading when a recipient counts must stay below the limit.
        "day": [
            *busiest(((each.began, each.taken) for each in taken), DAY),
            *busiest(((each.ended or each.began, each.taken) for each in taken), DAY),
        ],
        "at once": at_once(diary),
    }
    found = []
    for number in range(int((until - began) // DAY) + 1):
        start, end = began + number * DAY, began + (number + 1) * DAY

        def peak(window: str, start: float = start, end: float = end) -> int:
            return max((count for at, count in windows[window] if start <= at < end), default=0)

        mine = [each for each in diary if start <= each.began < end]
        clock = Counter(each.dotted // MINUTE for each in mine if each.dotted is not None)
        found.append(
            Day(
                number=number + 1,
                messages=sum(each.verdict == "ok" for each in mine),
                recipients=sum(each.taken for each in mine if each.verdict == "ok"),
                minute_by_first_byte=peak("first"),
                minute_by_dot=peak("dot"),
                minute_occupied=peak("occupied"),
                minute_of_clock=max(clock.values(), default=0),
                recipients_in_24h=peak("day"),
                at_once=peak("at once"),
                refused=Counter(each.verdict for each in mine if each.verdict not in ("ok", None)),
                cut=sum(each.was_cut for each in mine),
            )
        )
    return found


def most_refusals(account: Account) -> dict[str, int]:
    """Return, by family, the most refusals within any ten minutes."""
    return {family: max(count for _, count in busiest(((at, 1) for at in times), TEN_MINUTES))
            for family, times in account.refusals.items()}  # fmt: skip


_HEAD = (
    "day  messages  recipients  busiest 60 s by first byte, by dot, by both; by the clock's minutes  "
    "busiest 24 h  at once  cut  refused"
)


def table(found: Sequence[Day]) -> str:
    """Return the figures for people."""
    lines = [_HEAD]
    for day in found:
        refused = " ".join(f"{name}:{count}" for name, count in sorted(day.refused.items())) or "-"
        minute = f"{day.minute_by_first_byte}, {day.minute_by_dot}, {day.minute_occupied}; {day.minute_of_clock}"
        lines.append(
            f"{day.number:>3}  {day.messages:>8}  {day.recipients:>10}  {minute:>67}  {day.recipients_in_24h:>12}  "
            f"{day.at_once:>7}  {day.cut:>3}  {refused}"
        )
    return "\n".join(lines)
