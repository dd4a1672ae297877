"""The breaker at work: the gate that keeps suspected and held senders back, its memory on disk, the operators' word.

``breaker`` decides. A refusal takes effect in memory before the session that heard it is lent again, and on disk in
the transaction that settles the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.delivery.audit import Audit
from app.delivery.breaker import Breaker, Moment, Pair, judged_again
from app.delivery.desk import Desk
from app.delivery.gates import Stop
from app.delivery.reporter import Reporter
from app.delivery.routes import Routes
from app.delivery.standing import DAY, released, state_of
from app.kit.clock import Clock
from app.mail.verdict import Judged
from app.queue.contract import SenderStore
from app.queue.rows import Claim, ClaimedRecipient
from app.queue.sender_rows import Held, RefusedAddress, SenderChange, SenderRow, Strikes


@dataclass(frozen=True, slots=True)
class SenderView:
    """A (tenant, From) pair as shown to operators; ``refusals`` by family, since the last success, within a day."""

    tenant: str
    sender_key: str
    state: str
    held: Held | None
    last_success_at: datetime | None
    refusals: tuple[tuple[str, Strikes], ...]


class UnknownSender(Exception):
    """Nothing is known of such a pair."""


class Senders:
    """The senders of one process; a ``Gate``."""

    def __init__(
        self,
        *,
        store: SenderStore,
        audit: Audit,
        routes: Routes,
        clock: Clock,
        reporter: Reporter,
        wake: Callable[[], None],
    ) -> None:
        """``wake`` is called when mail that was kept back may go."""
        self._store = store
        self._audit = audit
        self._routes = routes
        self._clock = clock
        self._reporter = reporter
        self._wake = wake
        self._breaker = Breaker()

    def __repr__(self) -> str:
        return f"<Senders {self._breaker!r}>"

    async def restore(self) -> None:
        """Read what was kept before a restart."""
        moment = self._moment()
        self._breaker.restore(await self._store.read(moment.now), moment)
        for row in self._breaker.rows():
            if row.held is not None:
                self._reporter.sender_held(row, row.held)

    # -- the gate

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:
        """Return why mail of a pair may not go through a mailbox now; None: it may."""
        closed = self._breaker.closed((tenant, sender_key), desk.spec.name, now, boot)
        if closed is None:
            return None
        until = None if closed.until_boot is None else now + timedelta(seconds=closed.until_boot - boot)
        return Stop("sender-held" if closed.is_held else "sender-unproven", closed.text, until, closed.is_held)

    def opens_in(self, boot: float) -> float:
        """Return in how many seconds a mailbox has room for a refusal again (inf: all of them have)."""
        return self._breaker.opens_in(boot)

    # -- the courier's hooks

    def begin(self, pair: Pair, desk: Desk) -> None:
        """Count a transaction in, before anything is awaited for it."""
        self._breaker.begin(pair, desk.spec.name)

    def give_back(self, pair: Pair, desk: Desk) -> None:
        """Count a transaction out: it has ended, or never was."""
        self._breaker.give_back(pair, desk.spec.name)

    def remembered(self, claim: Claim, desk: Desk) -> dict[int, RefusedAddress]:
        """Return which of a claim's recipients (by place) are known to be refused: they are not tried."""
        now = self._clock.now()
        found = ((each.no, self._breaker.refused(desk.spec.connection, each.key, now)) for each in claim.recipients)
        return {no: address for no, address in found if address is not None}

    def ended(
        self, claim: Claim, desk: Desk, fresh: Judged | None, known: dict[int, RefusedAddress]
    ) -> tuple[Judged, SenderChange | None]:
        """Regard how an attempt ended; return its judgement for all recipients, and what is to be kept of its sender.

        ``fresh`` judges the recipients that were tried, ``known`` holds the others. A forgiven denial is deferred.
        """
        if fresh is None:
            return judged_again(known, claim, None), None
        tried = tuple(each for each in claim.recipients if each.no not in known)
        ruling = self._breaker.ended(_with(claim, tried), desk.spec.connection, fresh, self._moment())
        if ruling.has_held and (row := self._breaker.row((claim.tenant, claim.sender_key))) and row.held is not None:
            self._reporter.sender_held(row, row.held)
        if ruling.change is not None:
            self._wake()
        judged = judged_again(known, claim, ruling.judged) if known else ruling.judged
        return judged, ruling.change

    def lost(self, claim: Claim) -> None:
        """Keep that a claim was handed over when the process ended, and nobody knows the answer."""
        self._breaker.lost(claim, self._moment())

    # -- for the way in

    def refused(self, sender_key: str, key: str) -> RefusedAddress | None:
        """Return how an address was refused within the last day; None where a connection for this From may take it."""
        if not self._breaker.has_addresses:
            return None
        now = self._clock.now()
        connections = {desk.spec.connection for level in self._routes.levels(sender_key) for desk in level}
        found = [self._breaker.refused(connection, key, now) for connection in sorted(connections)]
        return found[0] if found and None not in found else None

    # -- for operators

    def views(self) -> list[SenderView]:
        """Return every sender of whom something is known, by tenant and address."""
        rows = sorted(self._breaker.rows(), key=lambda row: (row.tenant, row.sender_key))
        return [self._view(row) for row in rows]

    async def release(self, tenant: str, sender_key: str, by: str) -> SenderView:
        """Let a sender start afresh; ``by`` says for log and audit who does it.

        Its refusals and the addresses it learnt are forgotten; what waits goes, one message first. Raises
        ``UnknownSender`` and ``StoreError`` (nothing has changed).
        """
        pair = (tenant, sender_key)
        if (found := self._breaker.row(pair)) is None:
            raise UnknownSender(sender_key)
        why = f"held for {found.held.reason}" if found.held else None
        await self._audit.note(by, "sender.release", f"{tenant} {sender_key}", why)
        row = self._breaker.row(pair) or found
        if row.held is None and not row.strikes:
            return self._view(row)
        fresh = released(row)
        self._breaker.put(fresh)
        try:
            await self._store.release(fresh)
        except BaseException:
            if self._breaker.row(pair) is fresh:
                self._breaker.put(row)
            raise
        self._breaker.forget_learnt(row)
        self._reporter.sender_released(fresh, by)
        self._wake()
        return self._view(self._breaker.row(pair) or fresh)

    def _view(self, row: SenderRow) -> SenderView:
        now = self._clock.now()
        recent = ((family, each) for family, each in sorted(row.strikes.items()) if now - each.last_at <= DAY)
        return SenderView(
            tenant=row.tenant,
            sender_key=row.sender_key,
            state=state_of(row, now),
            held=row.held,
            last_success_at=row.last_success_at,
            refusals=tuple(recent),
        )

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.boot(), self._clock.boot_id)


def _with(claim: Claim, recipients: tuple[ClaimedRecipient, ...]) -> Claim:
    return claim if len(recipients) == len(claim.recipients) else replace(claim, recipients=recipients)
