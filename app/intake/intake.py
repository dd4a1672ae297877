"""The only way in: may this tenant send this, as this address, through some mailbox? Then compose, store, answer.

Every door takes it, so every rule is applied once. When ``submit`` returns, the message is on disk; when it raises,
nothing was stored (``StoreError`` with reason ``commit-uncertain`` excepted).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.intake.outcome import Acceptance, Forecast, Refused, RefusedByQuota, Render, Submission, Submitted
from app.intake.rules import TenantRules, Times, check_alive, check_fit, covers_for, largest_of, recipients_of, times_of
from app.intake.upload import FileUpload
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.metrics import Metrics
from app.mail.compose import compose
from app.mail.draft import Draft
from app.mail.message import Priority, Result, Work, api_status
from app.mail.plan import ContentError, Plan
from app.mail.reply import Phase, Reply
from app.mail.senders import Cover, Directory
from app.queue.contract import QueueStore
from app.queue.rows import Accepted, Idempotency, KeyReused, LaneKey, NewMessage, NewRecipient, OverQuota, Replayed

# Content up to this size goes into the accept transaction whole; more is staged chunk by chunk before it.
_STAGE_ABOVE = 1024 * 1024
_ACCEPTED = 202
# What a test key's recipients are told (http contract: everything but the wire).
_TEST_REPLY = Reply(250, None, "test: not handed over", Phase.DOT)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What intake asks of delivery; ``main`` hands it in.

    ``forecast(tenant, sender_key, priority, due)`` tells when a message would go, ``note(lane, tenant, sender_key,
    due)`` that one waits, ``offers_smtputf8(sender_key)`` whether the next hop takes such addresses (None: not known).
    """

    forecast: Callable[[str, str, Priority, datetime], Forecast]
    note: Callable[[LaneKey, str, str, datetime], None]
    offers_smtputf8: Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message about which everything is decided but whether its content arrives; ``body`` is the answer."""

    new: NewMessage
    plan: Plan
    covers: tuple[Cover, ...]
    location: str
    body: bytes


class Intake:
    """Takes messages in; see the module's promise."""

    def __init__(
        self,
        *,
        store: QueueStore,
        directory: Directory,
        tenants: Mapping[str, TenantRules],
        lifetime: timedelta,
        clock: Clock,
        delivery: Delivery,
        metrics: Metrics,
        not_yet: Set[str] = frozenset(),
    ) -> None:
        """Build the way in; ``not_yet`` names the fields that are refused because they are not alive yet."""
        self._not_yet = not_yet
        self._store = store
        self._directory = directory
        self._tenants = tenants
        self._lifetime = lifetime
        self._clock = clock
        self._delivery = delivery
        self._metrics = metrics

    async def submit(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Submitted:
        """Take a draft in and return the answer to give.

        ``render`` makes the answer's octets before the commit, so that they can be kept for a replay. ``dry_run``
        checks and composes everything and stores nothing. Raises ``Refused``, ``RefusedByQuota`` and ``StoreError``.
        """
        check_alive(draft, self._not_yet, dry_run=dry_run)
        now = self._clock.now()
        known = None if dry_run else await self._known(submission, now)
        if known is not None:
            return known
        prepared = self._prepare(submission, draft, render, now)
        plan = prepared.plan
        check_fit(prepared.covers, plan.size, len(prepared.new.recipients))
        if dry_run:
            for _ in _checked(plan):
                await asyncio.sleep(0)
            return Submitted(prepared.new.id, 200, prepared.location, prepared.body, is_replay=False)
        if plan.size <= _STAGE_ABOVE:
            return await self._accept(prepared, plan.size, tuple(_checked(plan)))
        return await self._staged(prepared)

    async def upload(
        self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False
    ) -> FileUpload:
        """Authorise a draft whose files are still to come, and begin to take them; see ``outcome.Upload``."""
        check_alive(draft, self._not_yet, dry_run=dry_run)
        prepared = self._prepare(submission, draft, render, self._clock.now())

        async def finish(plan: Plan, size: int, fingerprint: bytes) -> Submitted:
            check_fit(prepared.covers, size, len(prepared.new.recipients))
            if dry_run:
                return Submitted(prepared.new.id, 200, prepared.location, prepared.body, is_replay=False)
            idempotency = prepared.new.idempotency
            if idempotency is not None:
                idempotency = replace(idempotency, fingerprint=fingerprint)
            new = replace(prepared.new, smtputf8=plan.needs_smtputf8, idempotency=idempotency)
            submitted = await self._accept(replace(prepared, new=new), size, None)
            if submitted.is_replay:
                await self._store.unstage(prepared.new.id)
            return submitted

        return FileUpload(
            self._store,
            prepared.new.id,
            draft,
            lambda whole: _composed(whole, prepared.new.message_id, prepared.new.id),
            finish,
            largest_of(cover.limits.message_size for cover in prepared.covers),
            stores=not dry_run,
        )

    def _prepare(self, submission: Submission, draft: Draft, render: Render, now: datetime) -> Prepared:
        """Decide everything about a message but its content."""
        tenant = self._tenants[submission.tenant]
        covers = covers_for(tenant, self._directory, draft)
        times = times_of(draft, now, self._lifetime)
        recipients = recipients_of(draft)
        identity = new_id("msg")
        message_id = f"<{identity.lower()}@{draft.sender.address.domain}>"
        plan = _composed(draft, message_id, identity)
        self._check_smtputf8(plan, draft)
        if submission.is_test:
            recipients = tuple(replace(each, result=Result.SENT, reply=_TEST_REPLY) for each in recipients)
        location = f"/v1/messages/{identity}"
        body = render(self._acceptance(identity, submission, draft, times, recipients, now))
        new = NewMessage(
            id=identity,
            tenant=tenant.name,
            sender=str(draft.sender),
            sender_key=draft.sender.address.key,
            subject=draft.subject,
            message_id=message_id,
            created_at=now,
            scheduled_at=draft.scheduled_at,
            due_at=times.due_at,
            expires_at=times.expires_at,
            date=times.date,
            priority=draft.priority,
            size=0,
            smtputf8=plan.needs_smtputf8,
            tags=draft.tags,
            metadata=draft.metadata,
            recipients=recipients,
            content=None,
            is_test=submission.is_test,
            source=submission.source,
            key_id=submission.key_id,
            request_id=submission.request_id,
            idempotency=self._idempotency(submission, location, body),
            quotas=tenant.quotas,
        )
        return Prepared(new, plan, covers, location, body)

    @staticmethod
    def _idempotency(submission: Submission, location: str, body: bytes) -> Idempotency | None:
        if submission.idempotency_key is None:
            return None
        return Idempotency(
            submission.route, submission.idempotency_key, submission.fingerprint, _ACCEPTED, location, body
        )

    async def _known(self, submission: Submission, now: datetime) -> Submitted | None:
        if submission.idempotency_key is None:
            return None
        found = await self._store.replay(
            submission.tenant, submission.route, submission.idempotency_key, submission.fingerprint, now
        )
        return None if found is None else self._replayed(found)

    def _replayed(self, found: Replayed | KeyReused) -> Submitted:
        if isinstance(found, KeyReused):
            text = "this Idempotency-Key was used with another request"
            raise Refused("idempotency-key-reused", text)
        self._metrics.idempotent_replays.inc()
        identity = found.location.rpartition("/")[2]
        return Submitted(identity, found.status, found.location, found.body, is_replay=True)

    def _check_smtputf8(self, plan: Plan, draft: Draft) -> None:
        if plan.needs_smtputf8 and self._delivery.offers_smtputf8(draft.sender.address.key) is False:
            text = "an address has characters outside ASCII before the @, and the next hop does not take those"
            raise Refused("smtputf8-required", text)

    def _acceptance(
        self,
        identity: str,
        submission: Submission,
        draft: Draft,
        times: Times,
        recipients: tuple[NewRecipient, ...],
        now: datetime,
    ) -> Acceptance:
        results = [recipient.result for recipient in recipients]
        waits = Result.PENDING in results
        status = api_status(Work.QUEUED if waits else Work.DONE, results, tried=False, scheduled=times.due_at > now)
        forecast = (
            self._delivery.forecast(submission.tenant, draft.sender.address.key, draft.priority, times.due_at)
            if waits
            else Forecast(None, None)
        )
        return Acceptance(identity, status, now, forecast)

    async def _staged(self, prepared: Prepared) -> Submitted:
        """Stage large content chunk by chunk, so that it is never whole in memory, then accept it."""
        identity = prepared.new.id
        try:
            for no, chunk in enumerate(_checked(prepared.plan)):
                await self._store.stage(identity, no, chunk)
            return await self._accept(prepared, prepared.plan.size, None)
        finally:
            # Chunks that an accepted message has adopted are no longer staged, and stay.
            await asyncio.shield(self._store.unstage(identity))

    async def _accept(self, prepared: Prepared, size: int, content: tuple[bytes, ...] | None) -> Submitted:
        new = replace(prepared.new, size=size, content=content)
        outcome = await self._store.accept(new)
        if isinstance(outcome, OverQuota):
            raise RefusedByQuota(outcome.violated, outcome.quotas)
        if not isinstance(outcome, Accepted):
            return self._replayed(outcome)
        self._metrics.messages_accepted(new.tenant, new.source).inc()
        self._metrics.message_size.observe(size)
        if outcome.lane is not None:
            self._delivery.note(outcome.lane, new.tenant, new.sender_key, new.due_at)
        return Submitted(new.id, _ACCEPTED, prepared.location, prepared.body, is_replay=False, quotas=outcome.quotas)


def _composed(draft: Draft, message_id: str, identity: str) -> Plan:
    """Return the plan of a draft's content; raises ``Refused`` for what cannot be written."""
    try:
        return compose(draft, message_id=message_id, boundary=identity.lower())
    except ContentError as error:
        raise _refused(error) from None


def _checked(plan: Plan) -> Iterator[bytes]:
    """Yield the chunks of a plan; raises ``Refused`` for base64 that is none, which shows only here."""
    try:
        yield from plan.chunks()
    except ContentError as error:
        raise _refused(error) from None


def _refused(error: ContentError) -> Refused:
    return Refused("validation-error", str(error), error.pointer or None, fault=error.code)
