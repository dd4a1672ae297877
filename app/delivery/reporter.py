"""Tells operators what delivery does: one log line an attempt, and the figures. Decides nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.delivery.desk import Desk, Trouble
from app.kit.log import get_logger
from app.kit.metrics import Metrics
from app.mail.message import Result
from app.mail.reply import Reply
from app.mail.verdict import Judged, Verdict
from app.queue.contract import StoreError
from app.queue.rows import Claim, Expired, ParkedRow, Settled, Settlement
from app.queue.sender_rows import Held, SenderRow

_log = get_logger("delivery")

# By these a server asks for a slower pace.
_SLOWER = frozenset({432, 451, 452})
# Names are the server's words: a server that makes up a new one each time fills no memory and no log.
_MOST_ALERTS = 100


class Reporter:
    """Log lines and figures of delivery."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._alerted: set[str] = set()
        # Bound once: an unbound logger is made anew for each line.
        self._log = _log.bind()

    def attempted(self, desk: Desk, claim: Claim, judged: Judged, settlement: Settlement, settled: Settled) -> None:
        """Tell of one attempt after it was settled."""
        metrics = self._metrics
        metrics.attempts(settlement.outcome.value, judged.scope.value).inc()
        for outcome in settlement.recipients:
            if outcome.result is not Result.PENDING:
                metrics.recipients(outcome.result.value).inc()
            if outcome.result is Result.SENT:
                metrics.delivery_latency.observe(max(0.0, (settlement.at - claim.created_at).total_seconds()))
        reply = settlement.reply
        if reply is not None:
            self._count_reply(reply)
        telling = next((verdict for verdict in judged.recipients if verdict.cause), None)
        self._log.info(
            "attempt",
            message_id=claim.message,
            tenant=claim.tenant,
            mailbox=desk.spec.name,
            attempt=claim.number,
            outcome=settlement.outcome.value,
            recipients=len(claim.recipients),
            work=settled.work.value,
            due_at=_iso(settled.due_at),
            smtp_code=reply.code if reply else None,
            smtp_enhanced=reply.enhanced if reply else None,
            smtp_phase=reply.phase.value if reply else None,
            smtp_text=reply.text[:300] if reply else None,
            trouble=settlement.trouble,
            cause=telling.cause if telling else None,
            cure=telling.cure if telling else None,
        )
        for verdict in judged.recipients:
            if verdict.alert and verdict.alert not in self._alerted and len(self._alerted) < _MOST_ALERTS:
                self._alerted.add(verdict.alert)
                self._alert(verdict.alert, claim, verdict)

    @staticmethod
    def _alert(name: str, claim: Claim, verdict: Verdict) -> None:
        """Tell once of a name of Exchange's that no row of the catalogue knows."""
        _log.error("unknown refusal", name=name, message_id=claim.message, cause=verdict.cause, cure=verdict.cure)

    def _count_reply(self, reply: Reply) -> None:
        enhanced = reply.enhanced.split(".")[0] if reply.enhanced else "none"
        self._metrics.smtp_replies(f"{reply.code // 100}xx", enhanced).inc()
        if reply.code in _SLOWER:
            self._metrics.smtp_throttled.inc()

    def incident(self, desk: Desk, claim: Claim, text: str) -> None:
        """Tell of a server that contradicted the protocol."""
        _log.error("smtp incident", message_id=claim.message, mailbox=desk.spec.name, trouble=text)

    def expired(self, expired: Expired) -> None:
        """Tell that a message's lifetime is over."""
        self._metrics.recipients(Result.EXPIRED.value).inc()
        _log.warning("message expired", message_id=expired.message, work=expired.work.value)

    def connect_failed(self, desk: Desk, trouble: Trouble) -> None:
        """Tell that no session could be opened."""
        self._metrics.smtp_connect_failures(desk.spec.configured, trouble.reason).inc()
        _log.warning("connect failed", mailbox=desk.spec.name, reason=trouble.reason, trouble=trouble.text)

    def parked(self, desk: Desk, row: ParkedRow) -> None:
        """Tell that a mailbox stands still."""
        if desk.umbrella is None:
            self._metrics.mailbox_parked.forget_all(desk.spec.name)  # it may stand still for another reason now
            self._metrics.mailbox_parked(desk.spec.name, row.reason).set(1)
        _log.error(
            "mailbox parked",
            mailbox=desk.spec.name,
            reason=row.reason,
            cause=row.cause,
            cure=row.cure,
            probe_at=_iso(row.probe_at),
        )

    def released(self, desk: Desk, row: ParkedRow) -> None:
        """Tell that a mailbox works again."""
        if desk.umbrella is None:
            self._metrics.mailbox_parked.forget(desk.spec.name, row.reason)
        _log.info("mailbox released", mailbox=desk.spec.name, reason=row.reason)

    def resumed(self, desk: Desk, by: str) -> None:
        """Tell who or what lets a mailbox work again."""
        _log.info("mailbox resumed", mailbox=desk.spec.name, by=by)

    def sender_held(self, sender: SenderRow, held: Held) -> None:
        """Tell that a sender is held until a person releases it."""
        _log.error(
            "sender held",
            tenant=sender.tenant,
            sender=sender.sender_key,
            reason=held.reason,
            cause=held.cause,
            cure=held.cure,
            since=_iso(held.since),
        )

    def sender_released(self, sender: SenderRow, by: str) -> None:
        """Tell who lets a sender start afresh."""
        _log.info("sender released", tenant=sender.tenant, sender=sender.sender_key, by=by)

    def credential_ends(self, desk: Desk, kind: str, seconds: float) -> None:
        """Keep in how many seconds a credential ends, negative when past."""
        self._metrics.credential_expiry(desk.spec.name, kind).set(seconds)

    def credential_notice(self, desk: Desk, kind: str, at: datetime, days: int) -> None:
        """Tell that a credential ends soon, or has ended."""
        log = _log.warning if days > 1 else _log.error
        log("credential expires", mailbox=desk.spec.name, kind=kind, expires_at=_iso(at), days_left=days)

    def store_trouble(self, problem: StoreError) -> None:
        """Tell that the store refused delivery."""
        _log.error("store trouble", reason=problem.reason, trouble=str(problem))

    def crashed(self, task: str, problem: BaseException) -> None:
        """Tell of a fault of ours, with its trace."""
        _log.error("internal error", task=task, exc_info=problem)

    def clock_jumped(self, by: timedelta, moved: int) -> None:
        """Tell that the wall clock has jumped, and how many messages wait by it."""
        _log.warning("clock jumped", by_seconds=round(by.total_seconds(), 1), messages_moved=moved)

    def recovered(self, attempts: int, waiting: int) -> None:
        """Tell what a start found."""
        _log.info("recovered", open_attempts=attempts, waiting=waiting)


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
