"""What becomes of a sign-in or a connection that failed, and how a parked mailbox comes back to work.

A refusal by the token endpoint stops every mailbox of the connection; one by the server its own mailbox; one of a
mailbox that a wildcard signs in as, that sender alone and for an hour. A parked mailbox is released by a changed
credential, by the end of its time, by the success of a rare probe, or by somebody's word.
"""

from __future__ import annotations

from collections.abc import Callable

from app.delivery.desk import Desk
from app.delivery.desks import Desks
from app.delivery.parking import Parking
from app.delivery.proving import HELD_FOR, Proving
from app.delivery.reporter import Reporter
from app.kit.clock import Clock
from app.mail.transaction import ConnectTrouble, SignInRefused

# Seconds between looks at the credential of a parked mailbox, and after a probe that did not get as far as signing in.
_LOOK_SECONDS = 5.0
_PROBE_AGAIN = 60.0


class Doorkeeper:
    """See the module's promise."""

    def __init__(
        self,
        desks: Desks,
        parking: Parking,
        proving: Proving,
        reporter: Reporter,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._desks = desks
        self._parking = parking
        self._proving = proving
        self._reporter = reporter
        self._clock = clock
        self._wake = wake
        self._looked_at: dict[str, float] = {}  # by mailbox, when its credential was read
        self._felt: dict[str, Exception] = {}  # by mailbox, the last trouble

    async def restore(self) -> None:
        """Read which mailboxes stand still; a changed credential releases one. Raises ``StoreError``."""
        await self._parking.restore(self._desks)
        self._proving.restore(self._clock.now(), self._clock.boot())

    async def renew(self) -> None:
        """Look at the parked mailboxes after the configuration has changed. Raises ``StoreError``."""
        await self._parking.restore(self._desks)
        for desk in list(self._desks.values()):
            if desk.parked is not None and await self._parking.has_changed(desk):
                await self.resume(desk, "its credential has changed")
        self._wake()

    def begins(self, desk: Desk) -> None:
        """Keep that somebody seeks a session of a mailbox."""
        self._proving.begins(desk)

    async def refused(self, desk: Desk, refusal: SignInRefused) -> None:
        """Let those stand still whom a refused sign-in concerns; once, however many waited for that sign-in."""
        if not self._is_news(desk, refusal):
            return
        if refusal.reply is None:
            for each in list(self._desks.values()):
                concerned = each.spec.connection == desk.spec.connection and each.umbrella is None
                # One that stands still already keeps its own reason, which a good token need not remove.
                if concerned and (each is desk or each.parked is None):
                    await self._parking.park_by_refusal(each, refusal)
        elif desk.umbrella is not None:
            # All who waited for this sign-in are told of it; the server refused it once.
            times, refusal.refusals = refusal.refusals, 0
            self._proving.refused(desk, self._clock.boot(), times)
            await self._parking.park_by_refusal(desk, refusal, held_for=HELD_FOR)
        else:
            await self._parking.park_by_refusal(desk, refusal)

    def failed(self, desk: Desk, trouble: ConnectTrouble) -> None:
        """Keep that no session could be had, and when to try again; once, however many waited for that session."""
        if not self._is_news(desk, trouble):
            return
        kept = desk.failed(trouble.reason, trouble.text, self._clock.boot(), trouble.retry_after)
        self._reporter.connect_failed(desk, kept)

    def _is_news(self, desk: Desk, problem: Exception) -> bool:
        before = self._felt.get(desk.spec.name)
        self._felt[desk.spec.name] = problem
        return problem is not before

    async def resume(self, desk: Desk, by: str) -> None:
        """Let a mailbox work again, and be tried at once; ``by`` says for the log why."""
        desk.spec.source.reset()
        await self._let_go(desk, by)

    async def _let_go(self, desk: Desk, by: str) -> None:
        self._reporter.resumed(desk, by)
        await self._parking.release(desk)
        desk.connected()
        self._wake()

    async def tend(self, desk: Desk) -> bool:
        """Release a parked mailbox whose time is over or whose credential changed; whether it wants a probe now."""
        if desk.parked is None:
            return False
        if self._parking.is_over(desk):
            # Nothing new is known of the token endpoint: what it asked for (Retry-After) goes on.
            await self._let_go(desk, "its time is over")
        elif self._is_time_to_look(desk) and await self._parking.has_changed(desk):
            await self.resume(desk, "its credential has changed")
        return self._parking.wants_probe(desk)

    def _is_time_to_look(self, desk: Desk) -> bool:
        boot = self._clock.boot()
        if boot - self._looked_at.get(desk.spec.name, -_LOOK_SECONDS) < _LOOK_SECONDS:
            return False
        self._looked_at[desk.spec.name] = boot
        return True

    async def probe(self, desk: Desk) -> None:
        """Sign in once as a parked mailbox; success releases it."""
        try:
            async with desk.sessions.lend():
                pass
        except SignInRefused as refusal:
            await self.refused(desk, refusal)
        except ConnectTrouble as trouble:
            self.failed(desk, trouble)
            self._parking.postpone(desk, _PROBE_AGAIN)
        else:
            if self._parking.wants_probe(desk):  # not if an operator has parked it meanwhile
                await self.resume(desk, "a sign-in succeeded")
