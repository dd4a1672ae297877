"""JSON Schemas of what the API answers, and an example of each: the words of ``views``, for the description."""

from __future__ import annotations

from typing import Final

from app.api.json_text import Json
from app.api.query import STATUSES
from app.mail.message import AttemptOutcome, Kind, Priority, Result
from app.mail.reply import Phase


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(description: str, properties: Json, optional: tuple[str, ...] = ()) -> Json:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _list(of: str, description: str) -> Json:
    properties = {
        "object": {"const": "list"},
        "has_more": {"type": "boolean"},
        "next_cursor": _or_null({"type": "string", "description": "For after."}),
        "previous_cursor": _or_null({"type": "string", "description": "For before."}),
        "data": {"type": "array", "items": _ref(of)},
    }
    return _object(description, properties)


_TEXT: Final[Json] = {"type": "string"}
_AT: Final[Json] = {"type": "string", "format": "date-time"}
_MAYBE_TEXT: Final = _or_null(_TEXT)
_MAYBE_AT: Final = _or_null(_AT)
_ID: Final[Json] = {"type": "string", "pattern": "^msg_[0-9A-HJKMNP-TV-Z]{26}$"}
_STATUS: Final[Json] = {"type": "string", "enum": list(STATUSES)}
_FORECAST: Final[Json] = {
    "estimated_send_at": {
        "anyOf": [_AT, {"type": "null"}],
        "description": "When the message will probably be handed over; null when done or when a person must act first.",
    },
    "waiting_for": _or_null(_ref("WaitingFor")),
}

SCHEMAS: Final[dict[str, Json]] = {
    "Address": {
        "anyOf": [
            {"type": "string", "examples": ["Ada Byron <ada@customer.example>"]},
            {
                "type": "object",
                "properties": {"email": _TEXT, "name": _MAYBE_TEXT},
                "required": ["email"],
                "additionalProperties": False,
            },
        ]
    },
    "Addresses": {
        "description": "One address or a list of them.",
        "anyOf": [_ref("Address"), {"type": "array", "items": _ref("Address")}, {"type": "null"}],
    },
    "WaitingFor": _object(
        "What limits a message at present.", {"code": _TEXT, "text": _TEXT, "until": _AT}, ("until",)
    ),
    "Acceptance": _object(
        "A message that is on disk.",
        {"object": {"const": "message"}, "id": _ID, "status": _STATUS, "created_at": _AT, **_FORECAST},
    ),
    "DryRun": _object(
        "What an acceptance would have said; nothing is stored.",
        {"object": {"const": "dry_run"}, "status": _STATUS, **_FORECAST},
    ),
    "Reply": _object(
        "The server's own words (RFC 5321 §4.2, RFC 3463).",
        {
            "code": {"type": "integer"},
            "enhanced_code": _MAYBE_TEXT,
            "text": _TEXT,
            "phase": {"type": "string", "enum": [phase.value for phase in Phase]},
        },
    ),
    "Recipient": _object(
        "One recipient and what became of it. sent means: the server answered 250.",
        {
            "address": _TEXT,
            "kind": {"type": "string", "enum": [kind.value for kind in Kind]},
            "result": {"type": "string", "enum": [result.value for result in Result]},
            "reply": _or_null(_ref("Reply")),
            "cause": _MAYBE_TEXT,
            "cure": _MAYBE_TEXT,
            "at": _MAYBE_AT,
        },
    ),
    "Attempt": _object(
        "One SMTP transaction; outcome is null while it runs, aborted means: not taken.",
        {
            "number": {"type": "integer"},
            "mailbox": _TEXT,
            "started_at": _AT,
            "ended_at": _MAYBE_AT,
            "outcome": _or_null({"type": "string", "enum": [outcome.value for outcome in AttemptOutcome]}),
            "reply": _or_null(_ref("Reply")),
        },
    ),
    "Tag": _object("A bounded word to filter by.", {"name": _TEXT, "value": _TEXT}),
    "Message": _object(
        "A message, its recipients and its attempts.",
        {
            "object": {"const": "message"},
            "id": _ID,
            "status": _STATUS,
            "from": _TEXT,
            "subject": _TEXT,
            "created_at": _AT,
            "scheduled_at": _MAYBE_AT,
            "expires_at": _AT,
            "message_id": _TEXT,
            "priority": {"type": "string", "enum": [priority.word for priority in Priority]},
            "tags": {"type": "array", "items": _ref("Tag")},
            "metadata": {"type": "object", "additionalProperties": _TEXT},
            "recipients": {"type": "array", "items": _ref("Recipient")},
            "attempts": {"type": "array", "items": _ref("Attempt")},
            **_FORECAST,
        },
    ),
    "Event": _object(
        "One line of a message's timeline, one for each recipient whose result changes.",
        {
            "id": _TEXT,
            "type": {"type": "string", "examples": ["message.accepted", "message.sent"]},
            "at": _AT,
            "attempt": _or_null({"type": "integer"}),
            "recipient": _MAYBE_TEXT,
            "reply": _or_null(_ref("Reply")),
            "cause": _MAYBE_TEXT,
            "cure": _MAYBE_TEXT,
            "next_attempt_at": _MAYBE_AT,
        },
    ),
    "MessageList": _list("Message", "A page of messages, newest first."),
    "EventList": _list("Event", "A timeline, oldest first."),
    "Fault": _object(
        "What is wrong with one place of the request.",
        {
            "pointer": {
                "type": "string",
                "description": "JSON Pointer into the body, as a URI fragment (RFC 6901 §6).",
            },
            "parameter": {"type": "string", "description": "Name of a query parameter."},
            "header": {"type": "string", "description": "Name of a header."},
            "part": {"type": "string", "description": "Name of a part of a multipart body."},
            "code": _TEXT,
            "detail": _TEXT,
        },
        ("pointer", "parameter", "header", "part"),
    ),
    "Problem": _object(
        "What went wrong (RFC 9457).",
        {
            "type": {"type": "string", "format": "uri"},
            "code": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": {"type": "string", "format": "uri-reference"},
            "request_id": _TEXT,
            "errors": {"type": "array", "items": _ref("Fault")},
        },
        ("instance", "errors"),
    ),
}

_EXAMPLE_ID: Final = "msg_06F3Q2C9DMXA7Y1B8T4H5K6N2W"
_WHEN: Final = "2026-11-23T10:00:00Z"
_EXAMPLE_REPLY: Final[Json] = {
    "code": 250,
    "enhanced_code": "2.0.0",
    "text": "OK <20261123100000.1@contoso.com> [Hostname=DB9PR01MB0001.example]",
    "phase": "dot",
}
_EXAMPLE_MESSAGE: Final[Json] = {
    "object": "message",
    "id": _EXAMPLE_ID,
    "status": "sent",
    "from": "Billing <billing@contoso.com>",
    "subject": "Invoice 8812",
    "created_at": _WHEN,
    "scheduled_at": None,
    "expires_at": "2026-11-26T10:00:00Z",
    "message_id": f"<{_EXAMPLE_ID.lower()}@contoso.com>",
    "priority": "normal",
    "tags": [{"name": "kind", "value": "invoice"}],
    "metadata": {"invoice_id": "8812"},
    "recipients": [
        {
            "address": "ada@customer.example",
            "kind": "to",
            "result": "sent",
            "reply": _EXAMPLE_REPLY,
            "cause": None,
            "cure": None,
            "at": "2026-11-23T10:00:01Z",
        }
    ],
    "attempts": [
        {
            "number": 1,
            "mailbox": "noreply",
            "started_at": "2026-11-23T10:00:00.120Z",
            "ended_at": "2026-11-23T10:00:01Z",
            "outcome": "sent",
            "reply": _EXAMPLE_REPLY,
        }
    ],
    "estimated_send_at": None,
    "waiting_for": None,
}

EXAMPLES: Final[dict[str, Json]] = {
    "Acceptance": {
        "object": "message",
        "id": _EXAMPLE_ID,
        "status": "queued",
        "created_at": _WHEN,
        "estimated_send_at": "2026-11-23T10:00:01Z",
        "waiting_for": None,
    },
    "DryRun": {
        "object": "dry_run",
        "status": "queued",
        "estimated_send_at": "2026-11-23T10:00:01Z",
        "waiting_for": None,
    },
    "Message": _EXAMPLE_MESSAGE,
    "MessageList": {
        "object": "list",
        "has_more": False,
        "next_cursor": None,
        "previous_cursor": None,
        "data": [_EXAMPLE_MESSAGE],
    },
    "EventList": {
        "object": "list",
        "has_more": False,
        "next_cursor": None,
        "previous_cursor": None,
        "data": [
            {
                "id": "evt_7",
                "type": "message.sent",
                "at": "2026-11-23T10:00:01Z",
                "attempt": 1,
                "recipient": "ada@customer.example",
                "reply": _EXAMPLE_REPLY,
                "cause": None,
                "cure": None,
                "next_attempt_at": None,
            }
        ],
    },
    "MessageIn": {
        "from": "Billing <billing@contoso.com>",
        "to": ["Ada Byron <ada@customer.example>", {"email": "b@customer.example", "name": "B, Jr."}],
        "reply_to": "support@contoso.com",
        "subject": "Invoice 8812",
        "text": "Please find the invoice attached.",
        "attachments": [{"filename": "invoice.txt", "content": "VG90YWw6IDQy", "content_type": "text/plain"}],
        "headers": {"X-Entity-Ref-ID": "8812"},
        "tags": [{"name": "kind", "value": "invoice"}],
        "metadata": {"invoice_id": "8812"},
    },
    "RescheduleIn": {"scheduled_at": "2026-11-24T08:00:00+01:00"},
    "ResolveIn": {"result": "not-sent"},
}
