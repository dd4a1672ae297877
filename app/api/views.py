"""What the API tells of a message: plain values to the names of the HTTP contract, instants in RFC 3339."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from app.intake.outcome import Acceptance, Forecast, WaitingFor
from app.mail.message import api_status
from app.mail.redact import for_tenant
from app.mail.reply import Reply
from app.queue.views import AttemptView, EventView, MessageView, RecipientView

Json = dict[str, Any]


def encode(value: object) -> bytes:
    """Return the octets of an answer's body."""
    return to_json(value)


def instant(value: datetime | None) -> str | None:
    """Return an instant in UTC, to the millisecond where it has any."""
    if value is None:
        return None
    if value.tzinfo is not UTC:
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
    own = own_addresses(view)
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
        "recipients": [_recipient(each, own) for each in view.recipients],
        "attempts": [_attempt(each, own) for each in view.attempts],
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


def own_addresses(view: MessageView) -> frozenset[str]:
    """Return the addresses of a message that its tenant may read in a server's words; its Message-ID looks like one."""
    return frozenset({view.sender_key, view.message_id.strip("<>"), *(each.address for each in view.recipients)})


def _recipient(recipient: RecipientView, own: frozenset[str]) -> Json:
    return {
        "address": recipient.address,
        "kind": recipient.kind.value,
        "result": recipient.result.value,
        "reply": reply_view(recipient.reply, own),
        "cause": recipient.cause,
        "cure": recipient.cure,
        "at": instant(recipient.at),
    }


def _attempt(attempt: AttemptView, own: frozenset[str]) -> Json:
    return {
        "number": attempt.number,
        "mailbox": attempt.mailbox,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "reply": reply_view(attempt.reply, own),
    }


def reply_view(reply: Reply | None, own: frozenset[str] | None = None) -> Json | None:
    """Return a server's words: for operators (``own`` None) as they came, for a tenant without what is not its own."""
    if reply is None:
        return None
    text = reply.text if own is None else for_tenant(reply.text, own)
    return {"code": reply.code, "enhanced_code": reply.enhanced, "text": text, "phase": reply.phase.value}


def event_view(event: EventView, own: frozenset[str]) -> Json:
    """Return one line of a timeline; ``own`` are the addresses of its message (``own_addresses``)."""
    return {
        "id": f"evt_{event.id}",
        "type": f"message.{event.type}",
        "at": instant(event.at),
        "attempt": event.attempt,
        "recipient": event.recipient,
        "reply": reply_view(event.reply, own),
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
