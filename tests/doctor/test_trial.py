"""What became of the doctor's message, told: taken, refused, unknown, or still waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.doctor.trial import TENANT, doctor_tenant, judge_trial
from app.intake.outcome import Forecast, WaitingFor
from app.mail.address import parse_pattern
from app.mail.message import AttemptOutcome, Kind, Priority, Result, Work
from app.mail.reply import Phase, Reply
from app.queue.rows import LaneKey
from app.queue.views import AttemptView, MessageView, RecipientView

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DENIED = Reply(554, "5.2.252", "SendAsDenied; [BeginDiagnosticData]0.35250[EndDiagnosticData]", Phase.DOT)
LATER = Reply(451, "4.7.500", "Server busy", Phase.DOT)
TAKEN = Reply(250, "2.0.0", "OK", Phase.DOT)


def message(result: Result, reply: Reply | None, attempts: tuple[AttemptView, ...] = ()) -> MessageView:
    refused = result is Result.REJECTED
    recipient = RecipientView(
        "ada@customer.test",
        Kind.TO,
        result,
        reply,
        "not granted" if refused else None,
        "grant it" if refused else None,
        NOW,
    )
    return MessageView(
        id="msg_1",
        tenant=TENANT,
        work=Work.DONE if result is not Result.PENDING else Work.DEFERRED,
        sender="a@contoso.test",
        sender_key="a@contoso.test",
        subject="Postroom doctor",
        message_id="<msg_1@contoso.test>",
        created_at=NOW,
        scheduled_at=None,
        due_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
        priority=Priority.NORMAL,
        size=300,
        is_test=False,
        tries=1,
        tags=(),
        metadata={},
        recipients=(recipient,),
        attempts=attempts,
        lane=LaneKey(1, Priority.NORMAL),
        content_erased=False,
    )


def attempt(reply: Reply | None, mailbox: str = "noreply") -> tuple[AttemptView, ...]:
    return (AttemptView(1, mailbox, NOW, NOW, AttemptOutcome.DEFERRED, reply),)


@pytest.mark.parametrize(
    ("view", "waiting", "status", "words"),
    [
        (message(Result.SENT, TAKEN, attempt(TAKEN)), None, "ok", "250 2.0.0 OK"),
        (message(Result.SENT, TAKEN, attempt(TAKEN, "other")), None, "ok", "It went through mailbox other."),
        (message(Result.REJECTED, DENIED, attempt(DENIED)), None, "fail", "not granted"),
        (message(Result.UNKNOWN, None, attempt(None)), None, "warn", "Look whether it arrives"),
        (message(Result.PENDING, None, attempt(LATER)), "the next try comes after a wait", "warn", "451 4.7.500"),
        (message(Result.PENDING, None), "the mailbox's minute is used up", "warn", "minute is used up"),
        (message(Result.PENDING, None), None, "warn", "given up at 12:10 UTC"),
    ],
)
def test_each_outcome_is_told(view: MessageView, waiting: str | None, status: str, words: str) -> None:
    forecast = Forecast(None, WaitingFor("code", waiting) if waiting else None)
    check = judge_trial(view, forecast, "send one message", "noreply")
    assert check.status.value == status
    assert words in " ".join((check.got, check.means, check.do))
    assert "BeginDiagnosticData" not in check.got


def test_the_doctors_tenant_can_be_no_configured_one_and_uses_what_tenants_may() -> None:
    rules = doctor_tenant([parse_pattern("a@contoso.test")])
    assert "-" in rules.name
    assert [str(sender) for sender in rules.senders] == ["a@contoso.test"]
