"""When credentials end, and when that is worth a line in the log. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# Entra drops a refresh token that was not used for so long (configurable token lifetimes of Microsoft Entra).
REFRESH_TOKEN_REST = timedelta(days=90)

# Days left at which an operator is told; 0 says that the end has come.
NOTICE_DAYS = (60, 30, 7, 1, 0)


@dataclass(frozen=True, slots=True)
class Expiry:
    """The end of a credential: ``kind`` is ``secret``, ``certificate``, ``refresh-token`` or ``basic-auth``."""

    kind: str
    at: datetime

    def seconds_left(self, now: datetime) -> float:
        """Return the seconds until the end, negative when past."""
        return (self.at - now).total_seconds()

    def days_left(self, now: datetime) -> int:
        """Return the whole days until the end, negative when past."""
        return math.floor(self.seconds_left(now) / 86_400)


# Exchange Online switches basic authentication for SMTP off by default at the end of December 2026.
BASIC_AUTH_END = Expiry("basic-auth", datetime(2027, 1, 1, tzinfo=UTC))


def notice_due(expiry: Expiry, told: int | None, now: datetime) -> int | None:
    """Return the entry of ``NOTICE_DAYS`` to tell now, or None; ``told`` is the one told last."""
    left = expiry.seconds_left(now) / 86_400
    reached = [days for days in NOTICE_DAYS if left <= days]
    if not reached:
        return None
    nearest = min(reached)
    return nearest if told is None or nearest < told else None
