"""What a transaction does to its mailbox beyond the message itself: success, refusals, narrowing, parking, a full day.

Some replies speak of the mailbox, some of every mailbox of the same Exchange tenant (the connection). A mailbox whose
transactions are cut one after the other is suspected to have no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.delivery.desk import Desk, Refusal
from app.delivery.parking import Parking
from app.delivery.reporter import Reporter
from app.kit.clock import Clock
from app.mail.transaction import Fate, Replies
from app.mail.verdict import Effect, Judged, Scope, Verdict

# Transactions cut one after the other before the connection itself is suspected.
_CUTS_IN_A_ROW = 3
# Seconds for which a day is believed to be full where neither the server nor the catalogue names a wait.
_DAY_FULL_SECONDS = 3600.0


class Aftermath:
    """See the module's promise."""

    def __init__(self, desks: Mapping[str, Desk], parking: Parking, reporter: Reporter, clock: Clock) -> None:
        self._desks = desks
        self._parking = parking
        self._reporter = reporter
        self._clock = clock
        self._cuts: dict[str, int] = {}

    async def feel(self, desk: Desk, judged: Judged, replies: Replies) -> None:
        """Let the mailbox, and where it is meant its connection, feel how a transaction ended."""
        now, boot = self._clock.now(), self._clock.boot()
        if replies.fate is Fate.NOT_TAKEN:
            self._cut(desk, replies.trouble or "the session was cut", boot)
        else:
            self._cuts.pop(desk.spec.name, None)
            if replies.dot is not None and replies.dot.is_positive:
                desk.last_success_at = now
        if (telling := _refusal(judged)) is not None:
            desk.last_refusal = Refusal(now, telling.reply, telling.cause, telling.cure)
        for verdict in judged.effects:
            for concerned in self._concerned(desk, verdict):
                await self._affect(concerned, verdict, now, boot)

    def _concerned(self, desk: Desk, verdict: Verdict) -> list[Desk]:
        if verdict.scope is not Scope.CONNECTION:
            return [desk]
        mine = [each for each in self._desks.values() if each.spec.connection == desk.spec.connection]
        # A wildcard that stands still keeps all of its mailboxes from working, those too that it has not met yet.
        return [each for each in mine if each.umbrella is None] if verdict.effect is Effect.PARK else mine

    async def _affect(self, desk: Desk, verdict: Verdict, now: datetime, boot: float) -> None:
        wait = verdict.retry_after
        if verdict.effect is Effect.NARROW:
            desk.narrow(boot)
        elif verdict.effect is Effect.PARK:
            until = now + timedelta(seconds=wait) if wait else None
            await self._parking.park(desk, _reason(verdict), verdict.cause or "", verdict.cure or "", until)
        elif verdict.effect is Effect.DAY_FULL:
            desk.ledger.fill_day(boot + (wait or _DAY_FULL_SECONDS))
        elif verdict.effect is Effect.EXTERNAL_DAY_FULL:
            desk.external_full_until = boot + (wait or _DAY_FULL_SECONDS)

    def _cut(self, desk: Desk, text: str, boot: float) -> None:
        cuts = self._cuts[desk.spec.name] = self._cuts.get(desk.spec.name, 0) + 1
        if cuts >= _CUTS_IN_A_ROW:
            self._reporter.connect_failed(desk, desk.failed("closed", text, boot, None))


def _refusal(judged: Judged) -> Verdict | None:
    """Return the verdict that operators are shown as the last refusal: the one that explains the outcome."""
    refused = [each for each in judged.recipients if each.reply is not None and not each.reply.is_positive]
    return next((each for each in refused if each.reply is judged.reply), refused[0] if refused else None)


def _reason(verdict: Verdict) -> str:
    reply = verdict.reply
    return f"{reply.code} {reply.enhanced or ''}".strip() if reply else "refused"
