"""Turns values into what a column holds and back.

Instants become integer microseconds since 1970 in UTC, replies compact JSON. Text that no encoding can carry (lone
surrogates out of a server's broken words) is made printable: a settlement never fails because of what a server said.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final, overload

from pydantic_core import to_json

from app.mail.reply import Phase, Reply

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000


def compact(value: object) -> str:
    """Return JSON without spaces, in ASCII."""
    return to_json(value, ensure_ascii=True).decode()


@overload
def micros(at: datetime) -> int: ...
@overload
def micros(at: datetime | None) -> int | None: ...
def micros(at: datetime | None) -> int | None:
    """Return an aware instant as microseconds since 1970, exactly; None stays None."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def span(duration: timedelta) -> int:
    """Return a duration in microseconds."""
    return duration // _MICROSECOND


@overload
def instant(at: int) -> datetime: ...
@overload
def instant(at: int | None) -> datetime | None: ...
def instant(at: int | None) -> datetime | None:
    """Return microseconds since 1970 as an aware instant in UTC; None stays None."""
    return None if at is None else _EPOCH + timedelta(microseconds=at)


def printable(text: str | None) -> str | None:
    """Return text that a column can hold: what UTF-8 cannot carry is written as an escape."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def packed(reply: Reply | None) -> str | None:
    """Return a reply as JSON: ``[code, enhanced, text, phase]``."""
    if reply is None:
        return None
    return compact([reply.code, reply.enhanced, printable(reply.text), reply.phase])


def unpacked(reply: str | None) -> Reply | None:
    """Return the reply that ``packed`` made text of."""
    if reply is None:
        return None
    code, enhanced, text, phase = json.loads(reply)
    return Reply(code, enhanced, text, Phase(phase))
