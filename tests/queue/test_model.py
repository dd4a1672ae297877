"""The store against a plain model of its contract: random calls in random order, closings in the middle, one truth."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.mail.message import WORK_MOVES, AttemptOutcome, Result, Work, api_status
from app.queue.first_aid import Deed, Filter, Moved
from app.queue.rows import Accepted, Claim, Idempotency, KeyReused, RecipientOutcome, Replayed, Settlement
from app.queue.sqlite import SqliteStore
from app.queue.views import ListQuery
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import BUSY, TENANT, Desk, letter, recipient
from tests.support.store_model import Message, StoreModel

T = TypeVar("T")

FINAL = [Result.SENT, Result.REJECTED, Result.SUPPRESSED]
# Weighted so that attempts quarrel: an unknown corrected late, while another attempt is under way.
STATED = [Result.PENDING] * 3 + [Result.UNKNOWN] * 2 + [Result.SENT, Result.REJECTED]
NEXT = [Work.QUEUED, Work.QUEUED, Work.DEFERRED, Work.HELD]
picked = st.integers(0, 10_000)
NEVER = timedelta(days=10_000)


class StoreStory(RuleBasedStateMachine):
    """Calls the store and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.model = StoreModel()
        self.claims: dict[int, Claim] = {}
        self.desk = self.run(self.opened())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def opened(self) -> Desk:
        path = Path(self.folder.name) / "postroom.db"
        store = await SqliteStore.open(path, clock=self.clock, queue_limit=0, disk_floor=0)
        return Desk(store, self.clock, path)

    def teardown(self) -> None:
        try:
            assert self.run(self.desk.store.check()) == ()
        finally:
            self.run(self.desk.store.close())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()

    def one(self, number: int) -> Message:
        return list(self.model.messages.values())[number % len(self.model.messages)]

    # -- taking in

    @initialize(counts=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def some_wait_from_the_start(self, counts: list[int]) -> None:
        for count in counts:
            self.accept([Result.PENDING] * count, 4000, None, None, b"1")

    @rule(
        results=st.lists(st.sampled_from([Result.PENDING] * 6 + FINAL), min_size=1, max_size=3),
        lifetime=st.sampled_from([20, 60, 4000, 4000]),
        scheduled=st.sampled_from([None, None, None, 15]),
        key=st.sampled_from([None, None, "a", "b"]),
        fingerprint=st.sampled_from([b"1", b"2"]),
    )
    def accept(
        self, results: list[Result], lifetime: int, scheduled: int | None, key: str | None, fingerprint: bytes
    ) -> None:
        now = self.clock.now()
        due = now + timedelta(seconds=scheduled or 0)
        new = letter(
            self.clock,
            recipients=tuple(recipient(f"r{no}@example.com", each) for no, each in enumerate(results)),
            expires_at=now + timedelta(seconds=lifetime),
            scheduled_at=due if scheduled else None,
            idempotency=None if key is None else Idempotency("r", key, fingerprint, 202, "/", b"{}"),
        )
        outcome = self.run(self.desk.store.accept(new))
        if key in self.model.keys:
            expected = Replayed(202, "/", b"{}") if self.model.keys[key] == fingerprint else KeyReused()
            assert outcome == expected
            return
        if key is not None:
            self.model.keys[key] = fingerprint
        waits = self.model.accept(new.id, results, due, new.expires_at)
        assert isinstance(outcome, Accepted)
        assert (outcome.lane is not None) == waits

    @rule(seconds=st.sampled_from([1, 10, 30, 100]))
    def time_passes(self, seconds: int) -> None:
        self.clock._move(self.clock.boot() + seconds)  # nobody sleeps on it

    # -- sending

    @rule(count=st.integers(1, 3))
    def pick(self, count: int) -> None:
        outcome = self.run(self.desk.pick(count=count))
        expected, next_due = self.model.pick(self.clock.now(), count)
        assert [claim.message for claim in outcome.claims] == [each.id for each in expected]
        assert outcome.next_due == next_due
        for claim, message in zip(outcome.claims, expected, strict=True):
            made = self.model.claimed(message, claim.attempt)
            assert [each.no for each in claim.recipients] == made.carried
            assert (claim.number, claim.tries, claim.unknowns) == (made.number, message.tries, message.unknowns)
            self.claims[claim.attempt] = claim

    @precondition(lambda self: self.model.waiting())
    @rule(is_marked=st.booleans(), result=st.sampled_from(STATED), again=st.booleans())
    def quarrel(self, is_marked: bool, result: Result, again: bool) -> None:
        """An unknown is tried again, and the reply of the first attempt comes late."""
        begun = len(self.claims)
        self.pick(1)
        if len(self.claims) == begun:
            return
        unknown, sent = AttemptOutcome.UNKNOWN, AttemptOutcome.SENT
        self.settle(0, [Result.PENDING] * 3, Work.QUEUED, unknown, 0, True, False, True, True)
        self.pick(1)
        if is_marked:
            self.mark(0)
        if again:
            self.settle(0, [Result.UNKNOWN] * 3, Work.QUEUED, unknown, 0, True, False, False, True)
        self.mark(1)
        self.settle(1, [result] * 3, Work.QUEUED, sent, 0, True, False, False, True)

    @precondition(lambda self: self.claims)
    @rule(number=picked)
    def mark(self, number: int) -> None:
        if not self.claims:
            return
        attempt = list(self.claims)[-1 - number % min(4, len(self.claims))]
        assert self.run(self.desk.mark(self.claims[attempt])) == self.model.mark(
            self.model.tries[attempt], self.clock.now()
        )

    @precondition(lambda self: self.claims)
    @rule(
        number=picked,
        stated=st.lists(st.sampled_from(STATED), min_size=3, max_size=3),
        next_work=st.sampled_from(NEXT),
        outcome=st.sampled_from([AttemptOutcome.UNKNOWN] * 4 + list(AttemptOutcome)),
        wait=st.sampled_from([0, 0, 5]),
        counted=st.booleans(),
        hold=st.booleans(),
        resend=st.booleans(),
        speaks=st.booleans(),
    )
    def settle(
        self,
        number: int,
        stated: list[Result],
        next_work: Work,
        outcome: AttemptOutcome,
        wait: int,
        counted: bool,
        hold: bool,
        resend: bool,
        speaks: bool,
    ) -> None:
        attempt = list(self.claims)[-1 - number % min(4, len(self.claims))]
        claim = self.claims[attempt]
        now = self.clock.now()
        due = now + timedelta(seconds=wait)
        reply = BUSY if speaks else None
        outcomes = tuple(
            RecipientOutcome(each.no, result, reply) for each, result in zip(claim.recipients, stated, strict=False)
        )
        made = self.model.tries[attempt]
        was = made.message.work
        settled = self.run(
            self.desk.store.settle(
                Settlement(
                    attempt=attempt,
                    message=claim.message,
                    at=now,
                    boot=self.clock.boot(),
                    outcome=outcome,
                    counted=counted,
                    reply=reply,
                    charged=0,
                    recipients=outcomes,
                    next_work=next_work,
                    due_at=due,
                    hold_unknown=hold,
                    resend_unknown=resend,
                )
            )
        )
        said = {each.no: each.result for each in outcomes}
        self.model.settle(made, outcome, said, next_work, due, counted=counted, hold=hold, resend=resend)
        message = made.message
        assert (settled.work, settled.due_at, list(settled.results)) == (message.work, message.due, message.results)
        assert settled.work is was or settled.work in WORK_MOVES[was]

    # -- by request

    @precondition(lambda self: self.model.messages)
    @rule(number=picked)
    def cancel(self, number: int) -> None:
        message = self.one(number)
        change = self.run(self.desk.store.cancel(TENANT, message.id, self.clock.now()))
        assert change is not None
        assert change.done == self.model.cancel(message)

    @precondition(lambda self: self.model.messages)
    @rule(number=picked, sent=st.booleans())
    def resolve(self, number: int, sent: bool) -> None:
        message = self.one(number)
        change = self.run(self.desk.store.resolve(TENANT, message.id, sent, self.clock.now()))
        assert change is not None
        assert change.reason == self.model.resolve(message, self.clock.now(), sent=sent)
        assert change.done == (change.reason is None)

    @precondition(lambda self: self.model.messages)
    @rule(number=picked, seconds=st.sampled_from([-10, 10, 50]))
    def reschedule(self, number: int, seconds: int) -> None:
        message, now = self.one(number), self.clock.now()
        at = now + timedelta(seconds=seconds)
        expires = at + timedelta(seconds=60)
        change = self.run(self.desk.store.reschedule(TENANT, message.id, at, expires, now))
        assert change is not None
        assert change.done == self.model.reschedule(message, at, expires, now)

    @precondition(lambda self: self.model.messages)
    @rule(number=picked)
    def retry(self, number: int) -> None:
        message, now = self.one(number), self.clock.now()
        expires = now + timedelta(seconds=60)
        change = self.run(self.desk.store.retry(TENANT, message.id, now, expires))
        assert change is not None
        assert change.reason == self.model.retry(message, now, expires)

    @rule()
    def expire(self) -> None:
        outcome = self.run(self.desk.store.expire(self.clock.now(), 1000))
        expected = self.model.expire(self.clock.now())
        assert Counter((each.message, each.work) for each in outcome) == Counter(
            (each.id, each.work) for each in expected
        )

    @rule(deed=st.sampled_from([Deed.HOLD] * 3 + [Deed.RELEASE] * 3 + [Deed.CANCEL]))
    def first_aid(self, deed: Deed) -> None:
        now, found = self.clock.now(), self.model.open()
        moved: list[Moved] = []
        asked = Filter(tenant=TENANT)
        tally = self.run(self.desk.store.first_aid.change(deed, asked, "cli:story", now, moved.extend))
        act = {
            Deed.HOLD: self.model.hold,
            Deed.RELEASE: lambda message: self.model.release(message, now),
            Deed.CANCEL: self.model.cancel,
        }[deed]
        changed = [each.id for each in found if act(each)]
        assert (tally.matched, tally.changed) == (len(found), len(changed))
        assert {each.id for each in moved} == set(changed)

    @rule()
    def erase_content(self) -> None:
        assert self.run(self.desk.store.erase_content(self.clock.now(), -NEVER, -NEVER, 1000)) == self.model.erase()

    @rule()
    def crash(self) -> None:
        """End without settling anything, and start again."""
        self.run(self.desk.store.close())
        self.desk = self.run(self.opened())
        found = self.run(self.desk.store.open_attempts())
        expected = {number: each for number, each in self.model.tries.items() if each.outcome is None}
        assert {each.claim.attempt: each.is_marked for each in found} == {
            number: each.is_marked for number, each in expected.items()
        }
        for each in found:
            made = expected[each.claim.attempt]
            pending = [no for no in made.carried if made.message.results[no] is Result.PENDING]
            assert [one.no for one in each.claim.recipients] == pending

    # -- always

    @invariant()
    def every_message_is_as_the_model_says(self) -> None:
        now = self.clock.now()
        page = self.run(self.desk.store.messages(ListQuery(TENANT, now, 10_000)))
        assert len(page.messages) == len(self.model.messages)
        for view in page.messages:
            message = self.model.messages[view.id]
            assert [each.result for each in view.recipients] == message.results
            assert (view.work, view.due_at, view.expires_at) == (message.work, message.due, message.expires)
            assert (view.tries, view.content_erased) == (message.tries, not message.has_content)
            assert [each.outcome for each in view.attempts] == [each.outcome for each in message.attempts]

    @invariant()
    def lanes_and_counts_are_as_the_model_says(self) -> None:
        waiting = self.model.waiting()
        lanes = self.run(self.desk.store.lanes())
        assert [(each.waiting, each.next_due) for each in lanes] == (
            [(len(waiting), waiting[0].due)] if waiting else []
        )
        by_work = Counter(each.work for each in self.model.messages.values())
        assert self.run(self.desk.store.counts()).by_work == {work: by_work[work] for work in Work}
        expiring = [
            each.expires
            for each in self.model.messages.values()
            if each.work is not Work.SENDING and each.has(Result.PENDING)
        ]
        assert self.run(self.desk.store.next_expiry()) == min(expiring, default=None)

    @invariant()
    def an_operator_sees_what_is_not_done(self) -> None:
        page = self.run(self.desk.store.first_aid.queue(Filter(), self.clock.now(), 10_000, None, None))
        assert [each.id for each in page.messages] == [each.id for each in reversed(self.model.open())]

    @precondition(lambda self: self.model.messages)
    @rule(number=picked)
    def its_status_finds_it(self, number: int) -> None:
        message, now = self.one(number), self.clock.now()
        view = self.run(self.desk.store.message(TENANT, message.id))
        assert view is not None
        scheduled = view.scheduled_at is not None and view.scheduled_at > now
        status = api_status(message.work, message.results, tried=message.tries > 0, scheduled=scheduled)
        page = self.run(self.desk.store.messages(ListQuery(TENANT, now, 10_000, status=status)))
        assert message.id in {each.id for each in page.messages}


TestStore = StoreStory.TestCase
TestStore.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
