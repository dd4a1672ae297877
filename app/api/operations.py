"""The operations of the API: one row for each, from which routes and description are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.api.json_text import Json
from app.api.query import A_PAGE, MOST_A_PAGE, STATUSES
from app.web.keys import CANCEL, CONTENT, READ, SEND

#: What every operation may answer, whatever it does.
EVERYWHERE: Final = (
    "malformed-request",
    "unauthorized",
    "insufficient-scope",
    "network-not-allowed",
    "validation-error",
    "too-many-failures",
    "internal-error",
    "draining",
    "storage-unavailable",
)
_WITH_BODY: Final = ("malformed-json", "request-timeout", "payload-too-large", "unsupported-media-type", "busy")
_SUBMITTING: Final = (
    *_WITH_BODY,
    *("malformed-multipart", "invalid-idempotency-key", "sender-not-allowed", "recipient-not-allowed"),
    *("priority-not-allowed", "idempotency-in-progress", "message-too-large", "idempotency-key-reused"),
    *("too-many-recipients", "smtputf8-required", "quota-exceeded", "daily-quota-exceeded"),
    *("queue-full", "disk-full", "commit-uncertain"),
)


@dataclass(frozen=True, slots=True)
class Success:
    """A good answer: its status, what it means, the schema of its body (None: the message itself) and its headers."""

    status: int
    description: str
    schema: str | None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; ``request`` is the schema of its body, ``problems`` the codes beside those of every operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    scope: str
    successes: tuple[Success, ...]
    problems: tuple[str, ...] = ()
    request: str | None = None
    parameters: tuple[Json, ...] = ()
    takes_files: bool = False


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "required": False, "schema": schema}


_TEXT: Final[Json] = {"type": "string"}
_AT: Final[Json] = {"type": "string", "format": "date-time"}
_LISTING: Final = (
    _query("limit", "Messages a page.", {"type": "integer", "minimum": 1, "maximum": MOST_A_PAGE, "default": A_PAGE}),
    _query("after", "A page's next_cursor: go on behind it. Excludes before.", _TEXT),
    _query("before", "A page's previous_cursor: go back before it. Excludes after.", _TEXT),
    _query("status", "The one-word status.", {"type": "string", "enum": list(STATUSES)}),
    _query("to", "Address of a recipient of any kind.", _TEXT),
    _query("from", "Address of the sender.", _TEXT),
    _query("tag", "NAME:VALUE of a tag.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}:[A-Za-z0-9_-]{1,256}$"}),
    _query("created_after", "Accepted later than this (RFC 3339 with offset).", _AT),
    _query("created_before", "Accepted earlier than this (RFC 3339 with offset).", _AT),
)
_SENDING: Final[tuple[Json, ...]] = (
    _query("dry_run", "Check, authorise and compose everything, store nothing.", {"type": "boolean", "default": False}),
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Repeating a request with the same key within 24 hours (unless the operator set another"
        " retention) repeats its answer instead of its message. Bare or as a structured-field string.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 256},
        "example": "invoice-8812/reminder-1",
    },
    {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "wait=N: answer 200 with the whole message if it is done or held within N seconds (at most 30).",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
)
_CHANGED: Final = (Success(200, "Done; the message as it is now.", "Message"),)
_ACTING: Final = ("not-found", "commit-uncertain")

OPERATIONS: Final = (
    Operation(
        "sendMessage",
        "POST",
        "/v1/messages",
        "Send a message",
        "202 means that the message is on disk: it will be sent, or end in a stated result, whatever crashes.",
        SEND,
        (
            Success(
                200,
                "With Prefer: wait, the whole message, done or held. With dry_run, what an acceptance would have said.",
                "Message",
                ("Location", "Preference-Applied"),
            ),
            Success(
                202,
                "Accepted, and on disk.",
                "Acceptance",
                ("Location", "Idempotent-Replayed", "Preference-Applied"),
            ),
        ),
        _SUBMITTING,
        request="MessageIn",
        parameters=_SENDING,
        takes_files=True,
    ),
    Operation(
        "listMessages",
        "GET",
        "/v1/messages",
        "List messages",
        "The tenant's messages, newest first, in pages.",
        READ,
        (Success(200, "A page.", "MessageList"),),
        parameters=_LISTING,
    ),
    Operation(
        "getMessage",
        "GET",
        "/v1/messages/{id}",
        "Get a message",
        "Status, the result of each recipient with the server's words, and the attempts.",
        READ,
        (Success(200, "The message.", "Message"),),
        ("not-found",),
    ),
    Operation(
        "rescheduleMessage",
        "PATCH",
        "/v1/messages/{id}",
        "Reschedule a message",
        "Moves scheduled_at as long as no attempt has begun.",
        CANCEL,
        _CHANGED,
        (*_ACTING, *_WITH_BODY, "message-not-schedulable"),
        request="RescheduleIn",
    ),
    Operation(
        "listMessageEvents",
        "GET",
        "/v1/messages/{id}/events",
        "Get a message's timeline",
        "What happened to the message, oldest first; lines are only ever added.",
        READ,
        (Success(200, "The timeline.", "EventList"),),
        ("not-found",),
    ),
    Operation(
        "getMessageContent",
        "GET",
        "/v1/messages/{id}/content",
        "Get a message's content",
        "The octets that go to the wire, as long as they are kept.",
        CONTENT,
        (Success(200, "The content (RFC 5322).", None),),
        ("not-found", "content-erased"),
    ),
    Operation(
        "cancelMessage",
        "POST",
        "/v1/messages/{id}/cancel",
        "Cancel a message",
        "Cancels every recipient that is still pending, unless the message is being handed over at this moment.",
        CANCEL,
        _CHANGED,
        (*_ACTING, "message-not-cancelable"),
    ),
    Operation(
        "retryMessage",
        "POST",
        "/v1/messages/{id}/retry",
        "Try a message again",
        "Queues rejected, expired and canceled recipients again.",
        SEND,
        _CHANGED,
        (*_ACTING, "nothing-to-retry", "content-erased"),
    ),
    Operation(
        "resolveMessage",
        "POST",
        "/v1/messages/{id}/resolve",
        "Say what became of unknown recipients",
        "For recipients whose hand-over had no reply: sent ends them, not-sent queues them again.",
        SEND,
        _CHANGED,
        (*_ACTING, *_WITH_BODY, "nothing-to-resolve", "content-erased"),
        request="ResolveIn",
    ),
)
