"""What the API tells of a message: plain values to the names of the HTTP contract, instants in RFC 3339."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from app.intake.outcome import Acceptance, Forecast, WaitingFor
from app.mail.message import api_status
from app.mail.reply import Reply
from app.queue.views import AttemptView, EventView, MessageView, RecipientView

Json = dict[str, Any]


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(value: object) -> bytes:
    """Return the octets of an answer's body."""
    return _encode(value).encode()


def instant(value: datetime | None) -> str | None:
    """Return an instant in UTC, to the millisecond where it has any."""
    if value is None:
        return None
    value = value.astimezone(UTC)
    return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")[:-6] + "Z"


def forecast_members(forecast: Forecast) -> Json:
    """Return when a message will go and what it waits for."""
    return {
        "estimated_send_at": instant(forecast.send_at),
        "waiting_for": _waiting_for(forecast.waiting_for) if forecast.waiting_for else None,
    }


def _waiting_for(waiting: WaitingFor) -> Json:
    told: Json = {"code": waiting.code, "text": waiting.text}
    if waiting.until is not None:
        told["until"] = instant(waiting.until)
    return told


def acceptance_body(acceptance: Acceptance) -> bytes:
    """Return the body of a 202."""
    return encode(
        {
            "object": "message",
            "id": acceptance.id,
            "status": acceptance.status,
            "created_at": instant(acceptance.created_at),
            **forecast_members(acceptance.forecast),
        }
    )


def dry_run_body(acceptance: Acceptance) -> bytes:
    """Return the body of a dry run: what a 202 would have said, without an id, since there is no message."""
    return encode({"object": "dry_run", "status": acceptance.status, **forecast_members(acceptance.forecast)})


def message_view(view: MessageView, forecast: Forecast, now: datetime) -> Json:
    """Return a message as GET tells it."""
    return {
        "object": "message",
        "id": view.id,
        "status": status_of(view, now),
        "from": view.sender,
        "subject": view.subject,
        "created_at": instant(view.created_at),
        "scheduled_at": instant(view.scheduled_at),
        "expires_at": instant(view.expires_at),
        "message_id": view.message_id,
        "priority": view.priority.word,
        "tags": [{"name": name, "value": value} for name, value in view.tags],
        "metadata": dict(view.metadata),
        "recipients": [_recipient(each) for each in view.recipients],
        "attempts": [_attempt(each) for each in view.attempts],
        **forecast_members(forecast),
    }


def status_of(view: MessageView, now: datetime) -> str:
    """Return the one word for a message at ``now``."""
    return api_status(
        view.work,
        (recipient.result for recipient in view.recipients),
        tried=view.tries > 0,
        scheduled=view.scheduled_at is not None and view.scheduled_at > now,
    )


def _recipient(recipient: RecipientView) -> Json:
    return {
        "address": recipient.address,
        "kind": recipient.kind.value,
        "result": recipient.result.value,
        "reply": reply_view(recipient.reply),
        "cause": recipient.cause,
        "cure": recipient.cure,
        "at": instant(recipient.at),
    }


def _attempt(attempt: AttemptView) -> Json:
    return {
        "number": attempt.number,
        "mailbox": attempt.mailbox,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "reply": reply_view(attempt.reply),
    }


def reply_view(reply: Reply | None) -> Json | None:
    """Return a server's words."""
    if reply is None:
        return None
    return {"code": reply.code, "enhanced_code": reply.enhanced, "text": reply.text, "phase": reply.phase.value}


def event_view(event: EventView) -> Json:
    """Return one line of a timeline."""
    return {
        "id": f"evt_{event.id}",
        "type": f"message.{event.type}",
        "at": instant(event.at),
        "attempt": event.attempt,
        "recipient": event.recipient,
        "reply": reply_view(event.reply),
        "cause": event.cause,
        "cure": event.cure,
        "next_attempt_at": instant(event.next_attempt_at),
    }


def listing(data: Iterable[Json], next_cursor: str | None, previous_cursor: str | None) -> Json:
    """Return a page of a list; cursors are null at the ends."""
    return {
        "object": "list",
        "has_more": next_cursor is not None,
        "next_cursor": next_cursor,
        "previous_cursor": previous_cursor,
        "data": list(data),
    }
