"""Parks mailboxes and releases them: what is wrong, since when, and what lets them work again.

The parked state is stored with a keyed fingerprint of the credential and survives restarts. It ends by a changed
credential, by the success of a rare probe (none for a wrong password or a locked account), or by an operator's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.delivery.desk import Desk, Refusal
from app.delivery.desks import Desks
from app.delivery.reporter import Reporter
from app.kit.clock import Clock
from app.mail.rule import Row
from app.mail.transaction import SignInRefused
from app.mail.verdict import SignInVerdict, judge_sign_in
from app.queue.contract import QueueStore, StoreError
from app.queue.rows import ParkedRow

#: The reason of a mailbox that an operator has parked.
BY_OPERATOR = "operator"


def next_probe(probes: tuple[float, ...], done: int, now: datetime) -> datetime | None:
    """Return when the next probe may be made: the waits in order, the last one repeats; none: never."""
    if not probes:
        return None
    return now + timedelta(seconds=probes[min(done, len(probes) - 1)])


class Parking:
    """The parked mailboxes of one process."""

    def __init__(self, store: QueueStore, clock: Clock, reporter: Reporter, catalogue: Sequence[Row]) -> None:
        self._store = store
        self._clock = clock
        self._reporter = reporter
        self.catalogue = catalogue
        self._key = b""

    async def restore(self, desks: Desks) -> None:
        """Read what was parked; a credential that has changed since releases its mailbox."""
        self._key = await self._store.fingerprint_key()
        rows = await self._store.parked()
        for row in rows:
            desk = desks.recall(row.mailbox)
            if desk is None or desk.parked is not None:
                continue
            desk.parked = row
            if self._is_changed(desk, row):
                await self.release(desk)
            else:
                self._reporter.parked(desk, row)

    async def has_changed(self, desk: Desk) -> bool:
        """Read the credential of a parked mailbox anew; whether it is another one than it was parked with."""
        await desk.spec.source.inspect()
        return desk.parked is not None and self._is_changed(desk, desk.parked)

    def _is_changed(self, desk: Desk, row: ParkedRow) -> bool:
        """Whether another credential lifts what a mailbox is parked for; an operator's word it does not."""
        return row.reason != BY_OPERATOR and row.fingerprint != desk.spec.fingerprint(self._key)

    async def park_by_refusal(self, desk: Desk, refusal: SignInRefused, held_for: timedelta | None = None) -> None:
        """Park a mailbox whose sign-in was refused, where ``held_for`` is given for so long and without a probe.

        A refused probe keeps it parked and moves the next one back.
        """
        verdict = judge_sign_in(
            refusal.code, refusal.reply, by_token=desk.spec.sign_in != "password", rules=self.catalogue
        )
        desk.last_refusal = Refusal(self._clock.now(), refusal.reply, verdict.cause, verdict.cure)
        if held_for is not None:
            await self._keep(desk, replace(verdict, probes=()), self._clock.now() + held_for)
        else:
            await self._keep(desk, verdict)

    async def park(self, desk: Desk, reason: str, cause: str, cure: str, until: datetime | None = None) -> None:
        """Park a mailbox for another reason: a reply that stops it, an operator's word."""
        await self._keep(desk, SignInVerdict(reason=reason, cause=cause, cure=cure, probes=()), until)

    async def _keep(self, desk: Desk, verdict: SignInVerdict, until: datetime | None = None) -> None:
        now = self._clock.now()
        before = desk.parked
        if before is not None and before.reason == BY_OPERATOR and verdict.reason != BY_OPERATOR:
            return  # an operator's word stands until an operator takes it back
        done = before.probes + 1 if before and before.probe_at and before.probe_at <= now else 0
        row = ParkedRow(
            mailbox=desk.spec.name,
            reason=verdict.reason,
            cause=verdict.cause,
            cure=verdict.cure,
            since=before.since if before else now,
            until=until,
            fingerprint=desk.spec.fingerprint(self._key),
            probes=done,
            probe_at=next_probe(verdict.probes, done, now),
        )
        desk.parked = row
        self._reporter.parked(desk, row)
        while desk.parked is row:
            try:
                await self._store.park(row)
                return
            except StoreError as problem:
                self._reporter.store_trouble(problem)
                await self._clock.sleep(1.0)

    def wants_probe(self, desk: Desk) -> bool:
        """Whether a parked mailbox may try one sign-in now."""
        row = desk.parked
        return row is not None and row.probe_at is not None and row.probe_at <= self._clock.now()

    def is_over(self, desk: Desk) -> bool:
        """Whether a mailbox was parked for a time that has passed."""
        row = desk.parked
        return row is not None and row.until is not None and row.until <= self._clock.now()

    def postpone(self, desk: Desk, seconds: float) -> None:
        """Move the next probe back without counting one: the connection failed, nothing was learnt."""
        if desk.parked and desk.parked.probe_at:
            desk.parked = replace(desk.parked, probe_at=self._clock.now() + timedelta(seconds=seconds))

    async def move(self, desks: Iterable[Desk], by: timedelta) -> None:
        """Move what parked mailboxes wait for with a wall clock that has jumped."""
        for desk in list(desks):
            row = desk.parked
            if row is not None and (row.until or row.probe_at):
                until, probe_at = (at + by if at else None for at in (row.until, row.probe_at))
                desk.parked = replace(row, until=until, probe_at=probe_at)
                try:
                    await self._store.park(desk.parked)
                except StoreError as problem:
                    self._reporter.store_trouble(problem)

    async def release(self, desk: Desk) -> None:
        """Let a mailbox work again."""
        row = desk.parked
        await self._store.release(desk.spec.name)
        desk.parked = None
        if row is not None:
            self._reporter.released(desk, row)
