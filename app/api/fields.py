"""Reads the single fields of a message as asked for: addresses, texts, headers, instants, types.

Each function takes what JSON gave and returns the value of a draft, or raises ``Faulty`` with every fault and its place
in the caller's own document: a string in a list is ``/to/1``, the part of an object ``/to/1/email``. No fault repeats
the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from mimetypes import MimeTypes
from typing import Any, Final, NamedTuple

from pydantic import PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from app.mail.address import AddressError, NamedAddress, parse_address, parse_named
from app.mail.characters import fault_in_line
from app.mail.headers import check_header
from app.mail.mime import fault_in_filename, is_content_id, is_media_type

MOST_TEXT: Final = 2 * 1024 * 1024
MOST_SUBJECT: Final = 998
MOST_HEADERS: Final = 50
MOST_TAGS: Final = 10
MOST_METADATA: Final = 20
MOST_FAULTS: Final = 50

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
# The library's own table: what a machine's files say must not change what is sent.
_TYPES: Final = MimeTypes(filenames=())

Place = tuple[str | int, ...]


class Flaw(NamedTuple):
    """One fault: where, a bounded code, a sentence."""

    place: Place
    code: str
    text: str


class Faulty(Exception):
    """A value that cannot be taken, with each of its faults."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__(flaws)
        self.flaws = flaws


def faulty(code: str, text: str, place: Place = ()) -> Faulty:
    """Return the exception for a single fault."""
    return Faulty(Flaw(place, code, text))


def checked(read: Callable[[Any], Any]) -> PlainValidator:
    """Return a pydantic validator that reads a field with ``read``."""

    def validate(value: object) -> object:
        try:
            return read(value)
        except Faulty as error:
            details = [
                {"type": PydanticCustomError(flaw.code, flaw.text), "loc": flaw.place, "input": None}
                for flaw in error.flaws[:MOST_FAULTS]
            ]
            raise ValidationError.from_exception_data("field", details, hide_input=True) from None  # type: ignore[arg-type]

    return PlainValidator(validate)


# ---------------------------------------------------------------- texts


def string(value: object, place: Place = ()) -> str:
    """Return a string as it is."""
    if not isinstance(value, str):
        raise faulty("string_type", "must be a string", place)
    return value


def line(value: object, most: int, least: int = 0, place: Place = ()) -> str:
    """Return a string of one line with ``least`` to ``most`` characters."""
    text = string(value, place)
    if not least <= len(text) <= most:
        raise faulty("length", f"must have {least} to {most} characters", place)
    if fault_in_line(text):
        raise faulty("control_character", "must not contain control characters", place)
    return text


def subject(value: object) -> str:
    """Return a subject; null is none."""
    return "" if value is None else line(value, MOST_SUBJECT)


def body_text(value: object) -> str | None:
    """Return a text of many lines, of at most 2 MiB in UTF-8; null is none. Its characters are checked by composing."""
    if value is None:
        return None
    text = string(value)
    if len(text) > MOST_TEXT or (len(text) * 4 > MOST_TEXT and len(text.encode()) > MOST_TEXT):
        raise faulty("length", f"must have at most {MOST_TEXT} octets")
    return text


def instant(value: object) -> datetime | None:
    """Return an instant of RFC 3339 §5.6, with its offset, in UTC; null is none."""
    if value is None:
        return None
    text = string(value)
    if not _INSTANT.fullmatch(text):
        raise faulty("instant", "must be a date and time with offset, such as 2026-11-24T08:00:00+01:00")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise faulty("instant", "is no date and time that exists") from None


def some_instant(value: object) -> datetime:
    """Return an instant as ``instant`` does; null is a fault."""
    found = instant(value)
    if found is None:
        raise faulty("string_type", "must be a string")
    return found


# ---------------------------------------------------------------- addresses


# A pure function; the same few addresses come again and again, the sender's above all.
_parse_named: Final = lru_cache(maxsize=4096)(parse_named)


def _code(error: AddressError) -> str:
    """Return the code of a fault: one for whatever makes a text no address, as programs cannot mend it anyway."""
    return error.code if error.code in ("one_address_each", "control_character") else "invalid_email"


def _from_string(value: str, place: Place) -> NamedAddress:
    try:
        return _parse_named(value)
    except AddressError as error:
        raise faulty(_code(error), str(error), place) from None


def _from_object(value: dict[str, Any], place: Place) -> NamedAddress:
    flaws = [Flaw((*place, key), "extra_forbidden", "unknown field") for key in value if key not in ("email", "name")]
    name = None
    try:
        if value.get("name") is not None:
            name = line(value["name"], MOST_SUBJECT, place=(*place, "name")) or None
    except Faulty as error:
        flaws += error.flaws
    try:
        if "email" not in value:
            raise faulty("missing", "is required", (*place, "email"))
        address = parse_address(string(value["email"], (*place, "email")))
    except AddressError as error:
        flaws.append(Flaw((*place, "email"), _code(error), str(error)))
    except Faulty as error:
        flaws += error.flaws
    if flaws:
        raise Faulty(*flaws)
    return NamedAddress(address, name)


def one_address(value: object, place: Place = ()) -> NamedAddress:
    """Return the address of a string (``Ada <ada@example.com>``) or of an object (``{email, name}``)."""
    if isinstance(value, str):
        return _from_string(value, place)
    if isinstance(value, dict):
        return _from_object(value, place)
    raise faulty("address_type", "must be a string or an object with email and name", place)


def addresses(value: object) -> tuple[NamedAddress, ...]:
    """Return the addresses of one string or object, or of a list of them; null is none."""
    if not isinstance(value, list):
        return () if value is None else (one_address(value),)
    found: list[NamedAddress] = []
    flaws: list[Flaw] = []
    for place, each in enumerate(value):
        try:
            found.append(one_address(each, (place,)))
        except Faulty as error:
            flaws += error.flaws
            if len(flaws) >= MOST_FAULTS:
                break
    if flaws:
        raise Faulty(*flaws)
    return tuple(found)


# ---------------------------------------------------------------- pairs


def _object(value: object, most: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise faulty("object_type", "must be an object of strings")
    if len(value) > most:
        raise faulty("too_many", f"must have at most {most} entries")
    return value


def headers(value: object) -> tuple[tuple[str, str], ...]:
    """Return additional headers in the order given; structural ones are refused; null is none."""
    found: list[tuple[str, str]] = []
    flaws: list[Flaw] = []
    seen: set[str] = set()
    for name, content in ({} if value is None else _object(value, MOST_HEADERS)).items():
        fault = check_header(name, content) if isinstance(content, str) else "must be a string"
        if name.lower() in seen:
            fault = "the same header stands twice"
        seen.add(name.lower())
        if fault:
            flaws.append(Flaw((name,), "header", fault))
        found.append((name, content))
    if flaws:
        raise Faulty(*flaws)
    return tuple(found)


def metadata(value: object) -> dict[str, str]:
    """Return the caller's own pairs; null is none."""
    found: dict[str, str] = {}
    for name, content in ({} if value is None else _object(value, MOST_METADATA)).items():
        line(name, 100, 1, (name,))
        found[name] = line(content, 500, place=(name,))
    return found


def tag_part(value: object) -> str:
    """Return a tag's name or value."""
    if not _TAG.fullmatch(string(value)):
        raise faulty("tag", "must have 1 to 256 ASCII letters, digits, underscores or dashes")
    return str(value)


# ---------------------------------------------------------------- attachments


def filename(value: object) -> str | None:
    """Return a file's name without any folder; null is none."""
    if value is None:
        return None
    fault = fault_in_filename(string(value))
    if fault:
        raise faulty("filename", fault)
    return str(value)


def media_type(value: object) -> str | None:
    """Return a content type (RFC 2045 §5.1); null is none."""
    if value is not None and not is_media_type(string(value)):
        raise faulty("media_type", "must be a content type such as application/pdf, and not multipart")
    return None if value is None else str(value)


def guessed_type(name: str) -> str:
    """Return the content type that a file's name suggests."""
    return _TYPES.guess_type(name)[0] or "application/octet-stream"


def content_id(value: object) -> str | None:
    """Return a content id without angle brackets; null is none."""
    if value is not None and not is_content_id(string(value)):
        raise faulty("content_id", "must have 1 to 128 ASCII characters, without spaces and angle brackets")
    return None if value is None else str(value)
