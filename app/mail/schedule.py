"""Decides when a message is tried again and when its lifetime is over. Pure: time and chance are arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

# A server that asks for more than a day is not followed further: the lifetime decides.
LONGEST_NAMED_WAIT: Final = 86400.0

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}

# "try again in 30 seconds", "Retry-After: 120", "wait at least 5 minutes", "come back in 00:05:00".
# Between the asking and the figure only a few small words may stand: in "try again later (AS:46601)" no wait is named.
_WAIT = re.compile(
    r"""\b(?: (?:try|trying)\s+again | retry(?:ing)? | come\s+back | wait )
        (?: [\s:-]+ (?: again | please | later | (?P<after>in|after) | for | at\s+least | about | approximately ) )*
        [\s:-]+
        (?: (?P<hours>\d{1,2}) : (?P<minutes>\d\d) : (?P<seconds>\d\d)
          | (?P<count>\d{1,6}|an?|one) (?: \s* (?P<unit>s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?) )? )
        (?! [\w:] | \.\d )""",
    re.VERBOSE | re.IGNORECASE,
)


def next_due(
    try_number: int,
    now: datetime,
    schedule: Sequence[float],
    jitter: float,
    chance: float,
    retry_after: float | None = None,
) -> datetime:
    """Return when a message is due again after its ``try_number``-th try (1 for the first).

    ``schedule`` holds the waits in seconds, the last one repeats. ``jitter`` is the share by which a wait may vary
    either way, ``chance`` in [0, 1) picks from that range. ``retry_after`` (seconds, named by the server or a rule) is
    a floor. Raises ``ValueError`` for an empty schedule or a try before the first.
    """
    if not schedule or try_number < 1:
        raise ValueError("a schedule has at least one wait, and tries are counted from 1")
    wait = schedule[min(try_number, len(schedule)) - 1] * (1.0 + jitter * (2.0 * chance - 1.0))
    return now + timedelta(seconds=max(wait, retry_after or 0.0))


def ends_at(due_at: datetime, lifetime: timedelta, asked: datetime | None = None) -> datetime:
    """Return when a message expires: at the instant ``asked`` for, else ``lifetime`` after it was first due."""
    return asked if asked is not None else due_at + lifetime


def named_wait(text: str) -> float | None:
    """Return the wait in seconds that a reply's words name ("try again in 5 minutes"), at most a day; None: none.

    A figure without a unit counts as seconds, and only after "in" or "after".
    """
    for found in _WAIT.finditer(text):
        if found["hours"] is not None:
            seconds = int(found["hours"]) * 3600.0 + int(found["minutes"]) * 60.0 + int(found["seconds"])
        elif found["unit"] is not None:
            count = int(found["count"]) if found["count"].isdigit() else 1
            seconds = count * _UNITS[found["unit"][0].lower()]
        elif found["after"] is not None and found["count"].isdigit():
            seconds = float(found["count"])
        else:
            continue
        return min(seconds, LONGEST_NAMED_WAIT)
    return None
