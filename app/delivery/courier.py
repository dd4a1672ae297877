"""Carries one message at a time from the store to the next hop and its outcome back.

The order of things is the promise: a place in the ledger, the attempt row on disk, the transaction, the mark on disk
before the dot, every reply recorded. Recording goes on while the session takes its next message, one behind at most;
a store that refuses to record is asked again until it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.delivery.aftermath import Aftermath
from app.delivery.board import Board
from app.delivery.breaker import Pair
from app.delivery.desk import Desk
from app.delivery.envelopes import submit_once
from app.delivery.ledger import NO_REPLY_SECONDS, Slot
from app.delivery.reporter import Reporter
from app.delivery.routes import Turns
from app.delivery.senders import Senders
from app.delivery.settling import Moment, RetryPlan, settlement_of, taken
from app.delivery.transport import Session
from app.kit.bells import Bells
from app.kit.clock import Clock
from app.mail.message import OnUnknown, Work
from app.mail.rule import Row
from app.mail.transaction import Envelope, Fate, Replies
from app.mail.verdict import Judged, judge_transaction
from app.queue.contract import QueueStore, StoreError
from app.queue.rows import Claim, PickRequest, Settled, Settlement
from app.queue.sender_rows import SenderChange

# Seconds between tries to record a fact while the store refuses.
STORE_PATIENCE = 1.0
# How long a mailbox need not look again at a lane in which nothing fits it.
_UNFIT_SECONDS = 60.0
_NOTHING_TRIED = Replies(Fate.ANSWERED, None, (), None, None, "every recipient was refused within a day: not tried")


class StoredContent:
    """A claim's content: what the pick brought along, or streamed from the store; the Date line first."""

    def __init__(self, claim: Claim, store: QueueStore, date_line: Callable[[datetime], bytes]) -> None:
        self._claim = claim
        self._store = store
        self._date_line = date_line

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the octets in order."""
        head = self._date_line(self._claim.date)
        if self._claim.content is not None:
            yield head + self._claim.content
            return
        yield head
        async for chunk in self._store.content(self._claim.message):
            yield chunk


@dataclass(frozen=True, slots=True)
class Rules:
    """What was promised about retries: the schedule, each tenant's policy for unknown outcomes, what replies mean."""

    plan: RetryPlan
    on_unknown: Mapping[str, OnUnknown]
    catalogue: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Carried:
    """How an attempt ended: what the server said and what follows for every recipient.

    ``fresh`` judges the replies (None: nothing was tried), ``judged`` all recipients, also those that were remembered
    to be refused; ``sender`` is what the attempt tells of its sender.
    """

    replies: Replies
    fresh: Judged | None
    judged: Judged
    sender: SenderChange | None


class Courier:
    """Claims, carries, settles; shared by all mailboxes of a process."""

    def __init__(
        self,
        *,
        store: QueueStore,
        board: Board,
        turns: Turns,
        aftermath: Aftermath,
        senders: Senders,
        reporter: Reporter,
        bells: Bells,
        clock: Clock,
        rules: Rules,
        chance: Callable[[], float],
        date_line: Callable[[datetime], bytes],
        wake: Callable[[], None],
        reach: Callable[[str], None],
    ) -> None:
        """Carry for ``board``; ``reach`` is called at the named points of the journey, for crash tests."""
        self._store = store
        self._board = board
        self._turns = turns
        self._aftermath = aftermath
        self._senders = senders
        self._reporter = reporter
        self._bells = bells
        self._clock = clock
        self.rules = rules
        self._chance = chance
        self._date_line = date_line
        self._wake = wake
        self._reach = reach
        self.is_stopping = False

    async def claim(self, desk: Desk) -> tuple[Claim, Slot] | None:
        """Claim the message whose turn it is at a desk; None: nothing may go now."""
        while not self.is_stopping:
            now, boot = self._clock.now(), self._clock.boot()
            lane = self._turns.next(desk, now, boot)
            if lane is None:
                return None
            slot = desk.ledger.begin(boot, lane.tenant, 1, lane.key.priority, desk.reserve())
            pair = (lane.tenant, lane.sender_key)
            self._senders.begin(pair, desk)
            seen = self._board.look(lane)
            request = PickRequest(
                lane=lane.key,
                mailbox=desk.spec.name,
                now=now,
                boot=boot,
                boot_id=self._clock.boot_id,
                max_size=desk.spec.limits.message_size,
                max_recipients=desk.ledger.day_room(
                    boot, lane.key.priority, desk.spec.limits.recipients_per_message, slot
                ),
                only_domains=desk.spec.own_domains if desk.is_external_full(boot) else None,
            )
            try:
                picked = await self._store.pick(request)
            except StoreError as problem:
                self._board.looked(lane, seen, now + timedelta(seconds=STORE_PATIENCE), 0)
                self._give_back(desk, slot, pair)
                self._reporter.store_trouble(problem)
                return None
            except asyncio.CancelledError:
                self._board.looked(lane, seen, now, 0)
                self._give_back(desk, slot, pair)
                raise
            self._board.looked(lane, seen, picked.next_due, len(picked.claims))
            if picked.claims:
                claim = picked.claims[0]
                desk.ledger.resize(slot, len(claim.recipients))
                return claim, slot
            self._give_back(desk, slot, pair)
            if picked.next_due is not None and picked.next_due <= now:
                lane.unfit[desk.spec.name] = boot + _UNFIT_SECONDS
        return None

    def _give_back(self, desk: Desk, slot: Slot, pair: Pair) -> None:
        """Count out a transaction that never was."""
        desk.ledger.give_back(slot)
        self._senders.give_back(pair, desk)

    async def carry(self, desk: Desk, session: Session, claim: Claim, slot: Slot) -> Carried:
        """Make the transaction of a claim, judge it, and close its place in the ledger.

        Recipients that were refused within the last day are left out of the envelope and rejected by the same words.
        """

        async def hand_over() -> bool:
            return await self._store.mark(claim.attempt, self._clock.now())

        pair = (claim.tenant, claim.sender_key)
        known = self._senders.remembered(claim, desk)
        tried = [recipient.wire for recipient in claim.recipients if recipient.no not in known]
        if not tried:
            self._give_back(desk, slot, pair)
            judged, change = self._senders.ended(claim, desk, None, known)
            return Carried(_NOTHING_TRIED, None, judged, change)
        envelope = Envelope(
            return_path=desk.spec.address,
            recipients=tuple(tried),
            size=claim.size,
            smtputf8=claim.smtputf8,
        )
        fresh: Judged | None = None
        answered = False
        began = self._clock.boot()
        self._reach("carry-before-wire")
        try:
            content = StoredContent(claim, self._store, self._date_line)
            replies = await submit_once(session, envelope, content, hand_over)
            self._reach("carry-after-reply")
            answered = replies.fate is Fate.ANSWERED
            fresh = judge_transaction(replies, len(tried), self.rules.catalogue)
            judged, change = self._senders.ended(claim, desk, fresh, known)
            return Carried(replies, fresh, judged, change)
        finally:
            # Cancelled in between: what may have been taken counts as taken.
            charged = taken(fresh) if fresh else len(tried)
            ended = self._clock.boot()
            desk.took(ended - began, ended)
            desk.ledger.end(slot, ended, charged, replied=answered)
            self._senders.give_back(pair, desk)

    async def settle(self, desk: Desk, claim: Claim, carried: Carried) -> None:
        """Record what the replies mean, and let the mailbox feel their effects."""
        replies, judged = carried.replies, carried.judged
        settlement = self.settlement(claim, judged, replies.trouble, answered=replies.fate is Fate.ANSWERED)
        if carried.sender is not None:
            settlement = replace(settlement, sender=carried.sender)
        if replies.incident:
            self._reporter.incident(desk, claim, replies.incident)
        if carried.fresh is not None:
            await self._aftermath.feel(desk, carried.fresh, replies)
        settled = await self.record(settlement)
        self._reporter.attempted(desk, claim, judged, settlement, settled)
        self.follow(claim, settled)

    def settlement(self, claim: Claim, judged: Judged, trouble: str | None, *, answered: bool) -> Settlement:
        """Return what is to be written for a judged attempt; unanswered, it occupies the minute a little longer."""
        policy = self.rules.on_unknown.get(claim.tenant, OnUnknown.RESEND)
        boot = self._clock.boot() + (0.0 if answered else NO_REPLY_SECONDS)
        moment = Moment(self._clock.now(), boot, self._chance())
        return settlement_of(claim, judged, policy, self.rules.plan, moment, trouble)

    async def record(self, settlement: Settlement) -> Settled:
        """Write a settlement; while the store refuses, again and again: a reply is a fact."""
        while True:
            try:
                return await self._store.settle(settlement)
            except StoreError as problem:
                self._reporter.store_trouble(problem)
                await self._clock.sleep(STORE_PATIENCE)

    def follow(self, claim: Claim, settled: Settled) -> None:
        """Note where the message waits now, or tell those who wait for its end."""
        if settled.work in (Work.QUEUED, Work.DEFERRED) and settled.due_at is not None:
            self._board.note(settled.lane, claim.tenant, claim.sender_key, settled.due_at)
            self._wake()
        self._bells.ring(claim.message)
