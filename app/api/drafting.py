"""From a parsed JSON document to a draft: shape by ``schemas``, then what concerns several fields at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from app.api.fields import MOST_FAULTS, guessed_type
from app.api.json_text import Json
from app.api.schemas import HORIZON, AttachmentIn, MessageIn
from app.mail.draft import Attachment, Draft
from app.mail.message import Priority
from app.web.problems import Fault, invalid, pointer

_Model = TypeVar("_Model", bound=BaseModel)

_WORDS: Final = {
    "extra_forbidden": "unknown field",
    "missing": "is required",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
_PRIORITIES: Final = {priority.word: priority for priority in Priority}


def read_model(model: type[_Model], document: Json) -> _Model:
    """Return a document as a model; raises ``Problem`` 422 with a pointer for each fault, none repeating input."""
    try:
        return model.__pydantic_validator__.validate_python(document)  # type: ignore[no-any-return]
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid([_fault(each) for each in found[:MOST_FAULTS]]) from None


def _fault(error: Any) -> Fault:
    code = error["type"]
    return Fault(pointer(error["loc"]), code, _WORDS.get(code) or error["msg"])


def alone_in(document: Json) -> frozenset[str]:
    """Return where rules look for the first address of a list that the document does not have: it gives one alone."""
    return frozenset(f"/{name}/0" for name in ("to", "cc", "bcc") if not isinstance(document.get(name), list))


def to_draft(message: MessageIn, now: datetime, *, multipart: bool = False) -> Draft:
    """Return the draft of a message asked for at ``now``; raises ``Problem`` 422.

    ``multipart``: attachments may name file parts, and keep that name in ``part``.
    """
    faults: list[Fault] = []
    attachments: tuple[Attachment, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    if message.attachments:
        given = enumerate(message.attachments)
        attachments = tuple(_attachment(place, each, multipart, faults) for place, each in given)
        _check_twice("content_id", [each.content_id for each in attachments], faults)
    if message.tags:
        tags = tuple((tag.name, tag.value) for tag in message.tags)
        if len({name for name, _ in tags}) != len(tags):
            faults.append(Fault("#/tags", "duplicate", "a tag's name stands twice"))
    if not (message.to or message.cc or message.bcc):
        faults.append(Fault("#/to", "missing", "at least one recipient is required in to, cc or bcc"))
    if message.text is None and message.html is None:
        faults.append(Fault("#/text", "missing", "text or html is required"))
    _check_times(message, now, faults)
    if faults:
        raise invalid(faults)
    return Draft(
        sender=message.sender,
        to=message.to,
        cc=message.cc,
        bcc=message.bcc,
        reply_to=message.reply_to,
        subject=message.subject,
        text=message.text,
        html=message.html,
        attachments=attachments,
        headers=message.headers,
        tags=tags,
        metadata=message.metadata,
        priority=_PRIORITIES[message.priority or "normal"],
        scheduled_at=message.scheduled_at,
        expires_at=message.expires_at,
    )


def _attachment(place: int, given: AttachmentIn, multipart: bool, faults: list[Fault]) -> Attachment:
    at = ("attachments", place)
    if given.part is not None and not multipart:
        faults.append(Fault(pointer((*at, "part")), "part", "is for multipart requests only"))
    elif (given.content is None) == (given.part is None):
        one = "content or part" if multipart else "content"
        faults.append(Fault(pointer((*at, "content")), "missing", f"{one} is required, and only one"))
    filename = given.filename or ""
    return Attachment(
        filename=filename,
        content_type=given.content_type or (guessed_type(filename) if given.part is None else ""),
        content=given.content,
        part=given.part,
        content_id=given.content_id,
        # A content id is there to be shown within the html (RFC 2392), unless said otherwise.
        is_inline=given.disposition == "inline" or (given.disposition is None and given.content_id is not None),
        is_file=given.disposition == "attachment",
    )


def _check_twice(name: str, values: list[str | None], faults: list[Fault]) -> None:
    seen: set[str] = set()
    for place, value in enumerate(values):
        if value is not None and value in seen:
            faults.append(Fault(pointer(("attachments", place, name)), "duplicate", "stands twice"))
        seen.add(value or "")


def _check_times(message: MessageIn, now: datetime, faults: list[Fault]) -> None:
    start = now
    if message.scheduled_at is not None:
        start = max(now, message.scheduled_at)
        if message.scheduled_at > now + HORIZON:
            faults.append(Fault("#/scheduled_at", "horizon", "is more than 30 days ahead"))
    if message.expires_at is not None:
        if message.expires_at <= now:
            faults.append(Fault("#/expires_at", "past", "is not in the future"))
        elif message.expires_at <= start:
            faults.append(Fault("#/expires_at", "order", "is not after scheduled_at"))
        elif message.expires_at > start + HORIZON:
            faults.append(Fault("#/expires_at", "horizon", "is more than 30 days ahead"))
