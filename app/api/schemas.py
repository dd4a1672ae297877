"""The shape of a message as asked for, checked once and strictly, and its way to a draft.

Unknown fields are refused: a typo such as ``bccc`` would be a lost recipient. The field names are a superset of
Resend's; the rules stand in the HTTP contract (docs/api.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.api import fields
from app.api.fields import checked
from app.api.json_text import Json
from app.mail.address import NamedAddress

HORIZON: Final = timedelta(days=30)
MOST_ATTACHMENTS: Final = 50

# Stand-ins for references to schemas of the description: pydantic would look those up among its own definitions.
_ADDRESS: Final[Json] = {"x-schema": "Address"}
_ADDRESSES: Final[Json] = {"x-schema": "Addresses"}
_INSTANT: Final[Json] = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
    "description": "RFC 3339 with offset, at most 30 days ahead.",
}


def _text(description: str, most: int, *, null: bool = True) -> Json:
    kind: Any = ["string", "null"] if null else "string"
    return {"type": kind, "maxLength": most, "description": description}


def _pairs(description: str, most: int, longest: int) -> Json:
    return {
        "anyOf": [
            {
                "type": "object",
                "additionalProperties": {"type": "string", "maxLength": longest},
                "maxProperties": most,
            },
            {"type": "null"},
        ],
        "description": description,
    }


_STRICT: Final = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, validate_by_name=False)


class TagIn(BaseModel):
    """A tag: a bounded word to filter by."""

    model_config = _STRICT
    name: Annotated[
        str, checked(fields.tag_part), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}$"})
    ]
    value: Annotated[
        str, checked(fields.tag_part), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}$"})
    ]


class AttachmentIn(BaseModel):
    """A file, as base64 in ``content`` or, in a multipart request, as the file part that ``part`` names."""

    model_config = _STRICT
    filename: Annotated[str | None, checked(fields.filename), WithJsonSchema(_text("Without folders.", 255))] = None
    content: Annotated[str | None, Field(description="Base64 (RFC 4648 §4).")] = None
    part: Annotated[str | None, Field(description="Name of a file part; multipart requests only.")] = None
    content_type: Annotated[
        str | None, checked(fields.media_type), WithJsonSchema(_text("From the file's name if absent.", 255))
    ] = None
    content_id: Annotated[
        str | None, checked(fields.content_id), WithJsonSchema(_text("To show it in html as cid:….", 128))
    ] = None
    disposition: Literal["attachment", "inline"] | None = None


class MessageIn(BaseModel):
    """A message as asked for."""

    model_config = _STRICT
    sender: Annotated[NamedAddress, checked(fields.one_address), WithJsonSchema(_ADDRESS)] = Field(alias="from")
    to: Annotated[tuple[NamedAddress, ...], checked(fields.addresses), WithJsonSchema(_ADDRESSES)] = ()
    cc: Annotated[tuple[NamedAddress, ...], checked(fields.addresses), WithJsonSchema(_ADDRESSES)] = ()
    bcc: Annotated[tuple[NamedAddress, ...], checked(fields.addresses), WithJsonSchema(_ADDRESSES)] = ()
    reply_to: Annotated[tuple[NamedAddress, ...], checked(fields.addresses), WithJsonSchema(_ADDRESSES)] = ()
    subject: Annotated[str, checked(fields.subject), WithJsonSchema(_text("One line.", fields.MOST_SUBJECT))] = ""
    text: Annotated[
        str | None,
        checked(fields.body_text),
        WithJsonSchema(_text("Made from html if absent; an empty string opts out.", fields.MOST_TEXT)),
    ] = None
    html: Annotated[
        str | None, checked(fields.body_text), WithJsonSchema(_text("HTML of the message.", fields.MOST_TEXT))
    ] = None
    attachments: Annotated[list[AttachmentIn] | None, Field(max_length=MOST_ATTACHMENTS)] = None
    headers: Annotated[
        tuple[tuple[str, str], ...],
        checked(fields.headers),
        WithJsonSchema(_pairs("Additional headers; structural ones are refused.", fields.MOST_HEADERS, 998)),
    ] = ()
    tags: Annotated[list[TagIn] | None, Field(max_length=fields.MOST_TAGS)] = None
    metadata: Annotated[
        dict[str, str],
        checked(fields.metadata),
        WithJsonSchema(_pairs("Told back in GET; never interpreted.", fields.MOST_METADATA, 500)),
    ] = Field(default_factory=dict)
    priority: Literal["urgent", "normal", "bulk"] | None = None
    scheduled_at: Annotated[datetime | None, checked(fields.instant), WithJsonSchema(_INSTANT)] = None
    expires_at: Annotated[datetime | None, checked(fields.instant), WithJsonSchema(_INSTANT)] = None


class RescheduleIn(BaseModel):
    """The body of PATCH."""

    model_config = _STRICT
    scheduled_at: Annotated[
        datetime, checked(fields.some_instant), WithJsonSchema({"type": "string", "format": "date-time"})
    ]


class ResolveIn(BaseModel):
    """A person's word about recipients whose hand-over had no reply."""

    model_config = _STRICT
    result: Literal["sent", "not-sent"]
