"""Watches when credentials end: tells it in the log ahead of time, and keeps the figures.

Once at start, then every hour, the credentials are read anew; a certificate that was replaced on disk is seen so. The
log tells each end at 60, 30, 7, 1 and 0 days, once for a credential however many mailboxes use it.
"""

from __future__ import annotations

from app.delivery.desk import Desk
from app.delivery.desks import Desks
from app.delivery.reporter import Reporter
from app.kit.clock import Clock
from app.signin.expiry import Expiry, notice_due

_HOUR = 3600.0


class Expiries:
    """See the module's promise."""

    def __init__(self, desks: Desks, reporter: Reporter, clock: Clock) -> None:
        self._desks = desks
        self._reporter = reporter
        self._clock = clock
        self._told: dict[tuple[str, Expiry], int] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            for desk in self._configured():
                await desk.spec.source.inspect()
                self._tell(desk)
            await self._clock.sleep(_HOUR)

    def look(self) -> None:
        """Tell of what the credentials are known to be now: the configuration has changed."""
        for desk in self._configured():
            self._tell(desk)

    def _configured(self) -> list[Desk]:
        return [each for each in self._desks.values() if each.umbrella is None]

    def _tell(self, desk: Desk) -> None:
        now = self._clock.now()
        for expiry in desk.spec.source.expiries:
            self._reporter.credential_ends(desk, expiry.kind, expiry.seconds_left(now))
            told = self._told.get((desk.spec.connection, expiry))
            due = notice_due(expiry, told, now)
            if due is not None:
                self._told[desk.spec.connection, expiry] = due
                self._reporter.credential_notice(desk, expiry.kind, expiry.at, expiry.days_left(now))
