"""The only way in: may this tenant send this, as this address, through some mailbox? Then compose, store, answer.

Every door takes it, so every rule is applied once. When ``submit`` returns, the message is on disk; when it raises,
nothing was stored (``StoreError`` with reason ``commit-uncertain`` excepted).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.intake.content import checked, composed
from app.intake.forecasts import Forecasts
from app.intake.outcome import Acceptance, Forecast, Refused, RefusedByQuota, Render, Submission, Submitted
from app.intake.rules import TenantRules, Times, check_fit, covers_for, largest_of, recipients_of, redirected, times_of
from app.intake.upload import FileUpload
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.metrics import Metrics
from app.mail.address import Address
from app.mail.draft import Draft
from app.mail.message import Priority, Result, Work, api_status
from app.mail.plan import Plan
from app.mail.reply import Phase, Reply
from app.mail.senders import Cover, Directory
from app.queue.contract import QueueStore
from app.queue.rows import (
    Accepted,
    Idempotency,
    KeyReused,
    LaneKey,
    NewMessage,
    NewRecipient,
    OverQuota,
    QuotaPolicy,
    QuotaState,
    Replayed,
)
from app.queue.sender_rows import RefusedAddress

# Content up to this size goes into the accept transaction whole; more is staged chunk by chunk before it.
_STAGE_ABOVE = 1024 * 1024
_ACCEPTED = 202
# What a test key's recipients are told (http contract: everything but the wire).
_TEST_REPLY = Reply(250, None, "test: not handed over", Phase.DOT)


def _not_shut(_sender_key: str, _recipients: Iterable[str]) -> Forecast | None:
    """Know of nothing that keeps external recipients back."""
    return None


def _none_known(_sender_key: str, _address_key: str) -> RefusedAddress | None:
    """Know of no refused address."""
    return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What intake asks of delivery; ``main`` hands it in.

    ``forecast(tenant, sender_key, priority, due)`` tells when a message would go, ``note(lane, tenant, sender_key,
    due)`` that one waits, ``offers_smtputf8(sender_key)`` whether the next hop takes such addresses (None: not known),
    ``external(sender_key, recipients)`` when Exchange takes such recipients again (None: it does),
    ``refused(sender_key, address_key)`` how the next hop refused an address within a day, so that it is not tried.
    """

    forecast: Callable[[str, str, Priority, datetime], Forecast]
    note: Callable[[LaneKey, str, str, datetime], None]
    offers_smtputf8: Callable[[str], bool | None]
    external: Callable[[str, Iterable[str]], Forecast | None] = _not_shut
    refused: Callable[[str, str], RefusedAddress | None] = _none_known


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
        redirect_to: Address | None = None,
    ) -> None:
        """Take in over ``store``; ``redirect_to`` gets everybody's mail, where it is set (staging)."""
        self._store = store
        self._directory = directory
        self._tenants = tenants
        self._lifetime = lifetime
        self._clock = clock
        self._delivery = delivery
        self._forecasts = Forecasts(delivery.forecast)
        self._metrics = metrics
        self._redirect_to = redirect_to

    def reconfigure(self, directory: Directory, tenants: Mapping[str, TenantRules], lifetime: timedelta) -> None:
        """Go on with another configuration; what is being taken in goes on with the one it began with."""
        self._directory, self._tenants, self._lifetime = directory, tenants, lifetime

    async def submit(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Submitted:
        """Take a draft in and return the answer to give.

        ``render`` makes the answer's octets before the commit, so that they can be kept for a replay. ``dry_run``
        checks and composes everything and stores nothing. Raises ``Refused``, ``RefusedByQuota`` and ``StoreError``.
        """
        now = self._clock.now()
        known = None if dry_run else await self._known(submission, now)
        if known is not None:
            return known
        draft = redirected(draft, self._redirect_to)
        prepared = await self._prepare(submission, draft, render, now, is_whole=True)
        is_small = prepared.new.content is not None
        if dry_run:
            for _ in () if is_small else checked(prepared.plan.chunks()):
                await asyncio.sleep(0)
            return Submitted(prepared.new.id, 200, prepared.location, prepared.body, is_replay=False)
        return await (self._accept(prepared) if is_small else self._staged(prepared))

    async def upload(
        self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False
    ) -> FileUpload:
        """Authorise a draft whose files are still to come, and begin to take them; see ``outcome.Upload``."""
        draft = redirected(draft, self._redirect_to)
        prepared = await self._prepare(submission, draft, render, self._clock.now(), is_whole=False)

        async def finish(plan: Plan, size: int, fingerprint: bytes) -> Submitted:
            check_fit(prepared.covers, size, len(prepared.new.recipients))
            if dry_run:
                return Submitted(prepared.new.id, 200, prepared.location, prepared.body, is_replay=False)
            idempotency = prepared.new.idempotency
            if idempotency is not None:
                idempotency = replace(idempotency, fingerprint=fingerprint)
            new = replace(prepared.new, size=size, smtputf8=plan.needs_smtputf8, idempotency=idempotency)
            submitted = await self._accept(replace(prepared, new=new))
            if submitted.is_replay:
                await self._store.unstage(prepared.new.id)
            return submitted

        return FileUpload(
            self._store,
            prepared.new.id,
            draft,
            lambda whole: composed(whole, prepared.new.message_id, prepared.new.id),
            finish,
            largest_of(cover.limits.message_size for cover in prepared.covers),
            stores=not dry_run,
        )

    def is_limited(self, tenant: str) -> bool:
        """Whether a tenant has limits."""
        return bool(self._policies(tenant))

    async def quotas(self, tenant: str) -> Sequence[QuotaState]:
        """Return what is left of a tenant's limits; empty where it has none. Raises ``StoreError``."""
        policies = self._policies(tenant)
        return await self._store.quotas(tenant, policies, self._clock.now()) if policies else ()

    def _policies(self, tenant: str) -> Sequence[QuotaPolicy]:
        rules = self._tenants.get(tenant)  # gone, if the configuration was read anew in the midst of a request
        return rules.quotas if rules is not None else ()

    async def _prepare(
        self, submission: Submission, draft: Draft, render: Render, now: datetime, *, is_whole: bool
    ) -> Prepared:
        """Decide everything about a message; with ``is_whole`` no files are to come, and small content is written."""
        # Gone, if the configuration was read anew while the body came: it may send as nobody.
        tenant = self._tenants.get(submission.tenant) or TenantRules(submission.tenant, ())
        covers = covers_for(tenant, self._directory, draft)
        times = times_of(draft, now, self._lifetime)
        recipients = recipients_of(draft)
        identity = new_id("msg")
        message_id = f"<{identity.lower()}@{draft.sender.address.domain}>"
        plan = await composed(draft, message_id, identity)
        self._check_smtputf8(plan, draft)
        if submission.is_test:
            recipients = tuple(replace(each, result=Result.SENT, reply=_TEST_REPLY) for each in recipients)
        else:
            recipients = tuple([self._told(each, draft.sender.address.key) for each in recipients])
        content = None
        if is_whole:
            check_fit(covers, plan.size, len(recipients))
            content = tuple(checked(plan.chunks())) if plan.size <= _STAGE_ABOVE else None
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
            size=plan.size,
            smtputf8=plan.needs_smtputf8,
            tags=draft.tags,
            metadata=draft.metadata,
            recipients=recipients,
            content=content,
            is_test=submission.is_test,
            source=submission.source,
            key_id=submission.key_id,
            request_id=submission.request_id,
            idempotency=self._idempotency(submission, location, body),
            quotas=tenant.quotas,
        )
        return Prepared(new, plan, covers, location, body)

    def _told(self, recipient: NewRecipient, sender_key: str) -> NewRecipient:
        """Return a recipient as rejected where the next hop refused it a short while ago, in its words of then."""
        known = self._delivery.refused(sender_key, recipient.key)
        if known is None:
            return recipient
        return replace(recipient, result=Result.REJECTED, reply=known.reply, cause=known.cause, cure=known.cure)

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
            self._delivery.external(draft.sender.address.key, [each.key for each in recipients])
            or self._forecasts.of(submission.tenant, draft.sender.address.key, draft.priority, times.due_at, now)
            if waits
            else Forecast(None, None)
        )
        return Acceptance(identity, status, now, forecast)

    async def _staged(self, prepared: Prepared) -> Submitted:
        """Stage large content chunk by chunk, so that it is never whole in memory, then accept it."""
        identity = prepared.new.id
        try:
            for no, chunk in enumerate(checked(prepared.plan.chunks())):
                await self._store.stage(identity, no, chunk)
            return await self._accept(prepared)
        finally:
            # Chunks that an accepted message has adopted are no longer staged, and stay.
            await asyncio.shield(self._store.unstage(identity))

    async def _accept(self, prepared: Prepared) -> Submitted:
        new = prepared.new
        outcome = await self._store.accept(new)
        if isinstance(outcome, OverQuota):
            raise RefusedByQuota(outcome.violated, outcome.quotas)
        if not isinstance(outcome, Accepted):
            return self._replayed(outcome)
        self._metrics.messages_accepted(new.tenant, new.source).inc()
        self._metrics.message_size.observe(new.size)
        self._forecasts.forget()
        if outcome.lane is not None:
            self._delivery.note(outcome.lane, new.tenant, new.sender_key, new.due_at)
        return Submitted(new.id, _ACCEPTED, prepared.location, prepared.body, is_replay=False, quotas=outcome.quotas)
