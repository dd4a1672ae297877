"""From replies to rows: what one attempt means for its message.

Pure. The replies have been judged; here the tenant's policy for unknown outcomes and the retry schedule are added, and
the result is exactly what the store writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.mail.message import AttemptOutcome, OnUnknown, Result, Work
from app.mail.schedule import next_due
from app.mail.verdict import Judged, Outcome, Verdict
from app.queue.rows import Claim, RecipientOutcome, Settlement

# A message that is cut again and again is not hurried for ever: from the third time on it waits like a refused one.
_HASTY_CUTS = 2


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """``[delivery] retry`` in seconds (the last one repeats) and the share by which a wait may vary."""

    waits: tuple[float, ...]
    jitter: float


@dataclass(frozen=True, slots=True)
class Moment:
    """When an attempt ended, on both clocks, and the chance (0 to 1) that varies its next wait."""

    now: datetime
    boot: float
    chance: float


def settlement_of(
    claim: Claim, judged: Judged, policy: OnUnknown, plan: RetryPlan, moment: Moment, trouble: str | None = None
) -> Settlement:
    """Return what the store is to write for an attempt that ended as ``judged``.

    Only recipients that still need the message stay pending. An aborted attempt does not count and is due again at
    once; an unknown one is tried once more after the first wait of the schedule (policy resend) or held.
    """
    resend = policy is OnUnknown.RESEND and claim.unknowns == 0
    outcomes = tuple(
        _recipient_outcome(recipient.no, verdict, resend)
        for recipient, verdict in zip(claim.recipients, judged.recipients, strict=True)
    )
    unknown = any(verdict.outcome is Outcome.UNKNOWN for verdict in judged.recipients)
    counted = judged.outcome is not AttemptOutcome.ABORTED
    if not counted:
        next_work, due = _after_abort(claim, judged, plan, moment)
    else:
        next_work, due = Work.DEFERRED, _after_try(claim, judged, plan, moment)
        if unknown and resend:
            due = max(due, next_due(1, moment.now, plan.waits, plan.jitter, moment.chance, None))
    return Settlement(
        attempt=claim.attempt,
        message=claim.message,
        at=moment.now,
        boot=moment.boot,
        outcome=judged.outcome,
        counted=counted,
        reply=judged.reply,
        charged=taken(judged),
        recipients=outcomes,
        next_work=next_work,
        due_at=due,
        hold_unknown=policy is OnUnknown.HOLD,
        resend_unknown=unknown and resend,
        trouble=trouble,
    )


def taken(judged: Judged) -> int:
    """Return how many recipients were taken or may have been: what the attempt costs of the day's window."""
    return sum(verdict.outcome in (Outcome.SENT, Outcome.UNKNOWN) for verdict in judged.recipients)


def _recipient_outcome(no: int, verdict: Verdict, resend: bool) -> RecipientOutcome:
    result = {
        Outcome.SENT: Result.SENT,
        Outcome.REJECTED: Result.REJECTED,
        Outcome.UNKNOWN: Result.PENDING if resend else Result.UNKNOWN,
    }.get(verdict.outcome, Result.PENDING)
    is_doubtful = resend and verdict.outcome is Outcome.UNKNOWN
    return RecipientOutcome(no, result, verdict.reply, verdict.cause, verdict.cure, is_doubtful)


def _after_abort(claim: Claim, judged: Judged, plan: RetryPlan, moment: Moment) -> tuple[Work, datetime]:
    waits = [verdict.retry_after for verdict in judged.recipients if verdict.retry_after]
    cuts_before = claim.number - 1 - claim.tries
    if cuts_before >= _HASTY_CUTS:
        waited = next_due(cuts_before - _HASTY_CUTS + 1, moment.now, plan.waits, plan.jitter, moment.chance, None)
        return Work.DEFERRED, waited
    if waits:
        return Work.DEFERRED, moment.now + timedelta(seconds=max(waits))
    return Work.QUEUED, moment.now


def _after_try(claim: Claim, judged: Judged, plan: RetryPlan, moment: Moment) -> datetime:
    waits = [
        verdict.retry_after
        for verdict in judged.recipients
        if verdict.outcome is Outcome.DEFERRED and verdict.retry_after is not None
    ]
    named = max(waits, default=None)
    return next_due(claim.tries + 1, moment.now, plan.waits, plan.jitter, moment.chance, named)
