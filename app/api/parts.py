"""Takes a multipart/form-data body apart as it arrives (RFC 7578): plain events, nothing kept but a part's headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.web.problems import Problem

_MOST_HEADER: Final = 4096
_MOST_HEADERS: Final = 8
_EXTENDED: Final = re.compile(r";\s*filename\*\s*=\s*utf-8'[A-Za-z0-9-]*'([A-Za-z0-9!#$&+.^_`|~%-]+)\s*(?:;|$)", re.I)


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins; ``media_type`` as given, without parameters being judged."""

    name: str
    filename: str | None
    media_type: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    """Octets of the part that began last."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part that began last is complete."""


Event = PartBegins | PartData | PartEnds


def _broken(detail: str) -> Problem:
    return Problem("malformed-multipart", detail)


def extended_filename(disposition: str) -> str | None:
    """Return the file's name in ``filename*`` (RFC 8187), None where there is none that can be read.

    RFC 7578 §4.2 forbids it, yet .NET writes it, and beside it an encoded word as ``filename`` that nobody would know.
    """
    found = _EXTENDED.search(disposition)
    try:
        return unquote(found[1], errors="strict") if found else None
    except UnicodeDecodeError:
        return None


class Parts:
    """The parser of one body."""

    def __init__(self, content_type: str) -> None:
        """Begin; ``content_type`` is the request's and names the boundary."""
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:  # RFC 2046 §5.1.1
            raise _broken("the content type names no boundary of 1 to 70 characters")
        self._events: list[Event] = []
        self._headers: dict[str, str] = {}
        self._field = bytearray()
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": lambda data, start, end: self._events.append(PartData(data[start:end])),
                "on_part_end": lambda: self._events.append(PartEnds()),
                "on_end": self._on_end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_MOST_HEADER,
        )
        self.is_complete = False

    def feed(self, octets: bytes) -> list[Event]:
        """Return what these octets bring; raises ``Problem`` 400 ``malformed-multipart``."""
        self._events = []
        try:
            self._parser.write(octets)
        except FormParserError:
            raise _broken("the multipart body is broken") from None
        return self._events

    def _on_header_end(self) -> None:
        try:
            name, value = self._field.decode("ascii").lower(), self._value.decode("utf-8")
        except UnicodeDecodeError:
            raise _broken("a part's header is not UTF-8") from None
        self._field.clear()
        self._value.clear()
        if name in self._headers:
            raise _broken("a part's header stands twice")
        self._headers[name] = value

    def _on_headers_finished(self) -> None:
        given = self._headers.get("content-disposition", "")
        disposition, options = parse_options_header(given.encode())
        name, filename = options.get(b"name"), options.get(b"filename")
        if disposition != b"form-data" or not name:
            raise _broken("a part needs Content-Disposition: form-data with a name")
        if self._headers.get("content-transfer-encoding", "binary").strip().lower() not in ("binary", "8bit", "7bit"):
            raise _broken("Content-Transfer-Encoding is not used in form-data (RFC 7578 §4.7)")
        media_type = self._headers.get("content-type")
        self._events.append(
            PartBegins(
                name.decode("utf-8"),
                extended_filename(given) or (None if filename is None else filename.decode("utf-8")),
                None if media_type is None else media_type.strip(),
            )
        )

    def _on_end(self) -> None:
        self.is_complete = True
