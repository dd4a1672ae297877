"""Sends one real message as a sender and judges what became of it: Send-As is judged only at the end of DATA.

The message goes the way of every other one: the store, the ledger, the mailbox's sessions. It belongs to a tenant of
the doctor's own, so that it counts in no tenant's limits and stands in no tenant's list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Protocol

from app.delivery.senders import Senders
from app.doctor.check import Check, Status, filled, skipped
from app.doctor.estate import Trial
from app.intake.outcome import Acceptance, Forecast, Refused, RefusedByQuota, Render, Submission, Submitted
from app.intake.rules import TenantRules
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.mail.address import Address, AddressPattern, NamedAddress
from app.mail.draft import Draft
from app.mail.message import Result
from app.mail.redact import without_diagnostics
from app.queue.contract import QueueStore, StoreError
from app.queue.views import MessageView

#: No name of a configured tenant has a hyphen.
TENANT: Final = "postroom-doctor"

_PATIENCE: Final = 120.0
_PATIENCE_FOR_ALL: Final = 420.0
# A message that nobody waits for any more must not arrive days later.
_LIFETIME: Final = timedelta(minutes=10)
# Exchange blocks a mailbox that goes on being refused (550 5.2.251 to 5.2.255).
_MOST_REFUSALS: Final = 2


def doctor_tenant(senders: Iterable[AddressPattern]) -> TenantRules:
    """Return the doctor's own tenant; ``senders`` are those that any tenant may use."""
    return TenantRules(name=TENANT, senders=tuple(senders))


class Intake(Protocol):
    """The way in."""

    async def submit(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Submitted:
        """Take a draft in; on disk when it returns."""
        ...


@dataclass(frozen=True, slots=True)
class Mailing:
    """The journey of a message, as far as a trial needs it.

    ``finished`` waits until a message is done or held, at most so many seconds; ``forecast`` tells what it waits for.
    """

    intake: Intake
    store: QueueStore
    senders: Senders
    finished: Callable[[str, float], Awaitable[bool]]
    forecast: Callable[[MessageView], Forecast]
    clock: Clock

    async def send(self, trials: Iterable[Trial], send_to: NamedAddress, mailbox: str) -> list[Check]:
        """Try each sender, one after the other; after the second refusal, or seven minutes, the rest is left alone."""
        checks: list[Check] = []
        end = self.clock.boot() + _PATIENCE_FOR_ALL
        for trial in trials:
            if sum(check.status is Status.FAIL for check in checks) >= _MOST_REFUSALS:
                why = (
                    f"{trial.sender}: two senders were refused; a mailbox that goes on like that is blocked by Exchange"
                )
                checks.append(skipped("send", mailbox, why, "Mend those first, then ask again."))
            elif self.clock.boot() > end:
                checks.append(skipped("send", mailbox, f"{trial.sender}: the others took too long"))
            else:
                checks.append(await self._send(trial, send_to, mailbox))
        return checks

    async def _send(self, trial: Trial, send_to: NamedAddress, mailbox: str) -> Check:
        tried = f"send one message as {trial.sender} to {send_to.address}"
        draft = _draft(trial, send_to, self.clock)
        submission = Submission(TENANT, "doctor", new_id("req"), source="doctor")
        try:
            await self._start_afresh(trial)
            submitted = await self.intake.submit(submission, draft, _no_answer)
            await self.finished(submitted.id, _PATIENCE)
            view = await self.store.message(TENANT, submitted.id)
        except Refused as refused:
            return Check("send", Status.FAIL, tried, refused.text, "It was not taken in.", "", mailbox)
        except RefusedByQuota as refused:
            return Check("send", Status.FAIL, tried, str(refused), "It was not taken in.", "", mailbox)
        except StoreError as problem:
            means = "The store does not take it; the service refuses mail, too."
            return Check("send", Status.FAIL, tried, f"{problem.reason}: {problem}", means, "See the log.", mailbox)
        if view is None:
            return Check("send", Status.WARN, tried, "the message is no longer there", "It was removed.", "", mailbox)
        check = judge_trial(view, self.forecast(view), tried, mailbox)
        if check.status is Status.OK and self._is_held(trial.tenant, trial):
            return replace(check, do=f"It is still held: postroom sender release {trial.tenant} {trial.sender}")
        names = {"FROM": str(trial.sender), "TENANT": trial.tenant, "MAILBOX": trial.mailbox_address}
        return replace(check, do=filled(check.do, names))

    async def _start_afresh(self, trial: Trial) -> None:
        """Release the doctor's own hold of a sender: somebody has asked for another try."""
        if self._is_held(TENANT, trial):
            await self.senders.release(TENANT, _address(trial).key, "doctor")

    def _is_held(self, tenant: str, trial: Trial) -> bool:
        key = _address(trial).key
        return any(
            view.held is not None and (view.tenant, view.sender_key) == (tenant, key) for view in self.senders.views()
        )


def _address(trial: Trial) -> Address:
    assert trial.sender.address is not None  # noqa: S101 - trials are single addresses
    return trial.sender.address


def _no_answer(_acceptance: Acceptance) -> bytes:
    return b""


def _draft(trial: Trial, send_to: NamedAddress, clock: Clock) -> Draft:
    sender = _address(trial)
    return Draft(
        sender=NamedAddress(sender),
        to=(send_to,),
        subject=f"Postroom doctor: a message from {sender}",
        text=f"Postroom was asked to try whether it may send as {sender}. It may: this is the message.\n",
        expires_at=clock.now() + _LIFETIME,
    )


def judge_trial(view: MessageView, forecast: Forecast, tried: str, mailbox: str) -> Check:
    """Judge what became of a trial's message."""
    recipient = view.recipients[0]
    attempt = view.attempts[-1] if view.attempts else None
    reply = recipient.reply or (attempt.reply if attempt else None)
    got = without_diagnostics(str(reply)) if reply is not None else f"no reply; message {view.id} is {view.work.value}"
    carrier = f" It went through mailbox {attempt.mailbox}." if attempt and attempt.mailbox != mailbox else ""
    if recipient.result is Result.SENT:
        means = "The server took it, so this sender is granted. Look whether it arrives." + carrier
        return Check("send", Status.OK, tried, got, means, "", mailbox)
    if recipient.result is Result.REJECTED:
        means = (recipient.cause or "The server refused it.") + carrier
        return Check("send", Status.FAIL, tried, got, means, recipient.cure or "", mailbox)
    if recipient.result is Result.UNKNOWN:
        means = "The connection ended after the hand-over: whether it was taken is not known." + carrier
        return Check("send", Status.WARN, tried, got, means, "Look whether it arrives.", mailbox)
    waits = forecast.waiting_for.text if forecast.waiting_for else "it has not been tried to the end"
    means = (recipient.cause or f"It waits: {waits}") + carrier
    do = recipient.cure or f"It is given up at {view.expires_at:%H:%M} UTC; then try again."
    return Check("send", Status.WARN, tried, got, means, do, mailbox)
