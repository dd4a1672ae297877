"""Reads the query of a request: every name is known, stands once, and has a value that can be used; else 422."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request

from app.api.fields import Faulty, faulty, instant, tag_part
from app.mail.address import AddressError, parse_address
from app.queue.views import ListQuery
from app.web.call import call_of
from app.web.problems import Fault, invalid

STATUSES: Final = (
    *("scheduled", "held", "sending", "deferred", "queued", "unknown"),
    *("sent", "partially_sent", "expired", "canceled", "failed"),
)
MOST_A_PAGE: Final = 100
A_PAGE: Final = 20

_Value = TypeVar("_Value")


def read_query(raw: bytes, known: Collection[str]) -> dict[str, str]:
    """Return the parameters of a query string; unknown and repeated names are faults."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except ValueError:
        raise invalid([Fault("", "query", "the query cannot be read", "parameter")]) from None
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for name, value in pairs:
        if name not in known:
            faults.append(Fault(name[:64], "unknown", "unknown parameter", "parameter"))
        elif name in found:
            faults.append(Fault(name, "duplicate", "stands twice", "parameter"))
        found[name] = value
    if faults:
        raise invalid(faults[:20])
    return found


def read_flag(value: str | None, name: str) -> bool:
    """Return a parameter that is ``true`` or ``false``; absent is false."""
    if value not in (None, "true", "false"):
        raise invalid([Fault(name, "boolean", "must be true or false", "parameter")])
    return value == "true"


def cursor_of(position: int | None) -> str | None:
    """Return a position of a listing as an opaque word."""
    if position is None:
        return None
    octets = position.to_bytes(8, "big")
    return base64.urlsafe_b64encode(octets + zlib.crc32(octets).to_bytes(4, "big")).decode("ascii")


def position_of(cursor: str) -> int:
    """Return the position a cursor stands for; raises ``Faulty`` where we did not make it."""
    try:
        octets = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    position = int.from_bytes(octets[:8], "big")
    if len(octets) != 12 or zlib.crc32(octets[:8]) != int.from_bytes(octets[8:], "big") or position >> 63:
        raise faulty("cursor", "is not a cursor of a listing")
    return position


_LISTING: Final = frozenset(
    {"limit", "after", "before", "status", "to", "from", "tag", "created_after", "created_before"}
)


def read_list_query(raw: bytes, tenant: str, now: datetime) -> ListQuery:
    """Return the page of messages that a query asks for."""
    given = read_query(raw, _LISTING)
    faults: list[Fault] = []

    def take(name: str, read: Callable[[str], _Value]) -> _Value | None:
        if name not in given:
            return None
        try:
            return read(given[name])
        except Faulty as error:
            faults.append(Fault(name, error.flaws[0].code, error.flaws[0].text, "parameter"))
            return None

    if "after" in given and "before" in given:
        faults.append(Fault("before", "exclusive", "after and before exclude each other", "parameter"))
    query = ListQuery(
        tenant=tenant,
        now=now,
        limit=take("limit", limit_of) or A_PAGE,
        after=take("after", position_of),
        before=take("before", position_of),
        status=take("status", _status),
        to_key=take("to", address_key_of),
        sender_key=take("from", address_key_of),
        tag=take("tag", tag_of),
        created_after=take("created_after", _last_moment_of),
        created_before=take("created_before", instant_of),
    )
    if faults:
        raise invalid(faults)
    return query


def limit_of(text: str) -> int:
    """Return how many a page has; raises ``Faulty``."""
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST_A_PAGE):
        raise faulty("range", f"must be a number from 1 to {MOST_A_PAGE}")
    return int(text)


def instant_of(text: str) -> datetime | None:
    """Return an instant of RFC 3339 with its offset; raises ``Faulty``."""
    # A plus that was not escaped arrives as a space; before the offset it can be nothing else.
    return instant(f"{text[:-6]}+{text[-5:]}" if text[-6:-5] == " " else text)


def _last_moment_of(text: str) -> datetime | None:
    """Return the end of an instant's millisecond: instants are told that finely, and who gives one back means it."""
    at = instant_of(text)
    return at and at.replace(microsecond=at.microsecond // 1000 * 1000 + 999)


def _status(text: str) -> str:
    if text not in STATUSES:
        raise faulty("choice", f"must be one of {', '.join(STATUSES)}")
    return text


def address_key_of(text: str) -> str:
    """Return by what an address is found; raises ``Faulty``."""
    try:
        return parse_address(text).key
    except AddressError as error:
        raise faulty("invalid_email", str(error)) from None


def tag_of(text: str) -> tuple[str, str]:
    """Return name and value of ``NAME:VALUE``; raises ``Faulty``."""
    name, colon, value = text.partition(":")
    if not colon:
        raise faulty("tag", "must be NAME:VALUE")
    return tag_part(name), tag_part(value)


def acting_key(request: Request) -> str:
    """Return the id of the key that acts on a route without parameters; a query string with any is a fault."""
    read_query(request.scope["query_string"], ())
    return call_of(request).caller().key_id
