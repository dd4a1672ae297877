"""Takes the server's octets apart into replies, strictly (RFC 5321 §4.2).

Lines end with CRLF and nothing else, a reply has one code on all of its lines and at most 8 KiB; whoever breaks this is
no longer understood, because guessing where a reply ends shifts every later reply by one. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Exchange writes single lines of 3 kB; RFC 5321 §4.5.3.1.5 asks for 512 octets.
LIMIT = 8192

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r]*))?", re.DOTALL)


class RawReply(NamedTuple):
    """A complete reply: its code, and its lines without code and separator."""

    code: int
    lines: tuple[str, ...]


class ReplyParser:
    """Fed with octets as they come. After a fault it understands nothing more; ``fault`` says what was wrong."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self._rest = b""
        self._code: bytes | None = None
        self._lines: list[str] = []
        self._octets = 0

    @property
    def is_amid(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._rest) or self._code is not None

    def feed(self, data: bytes) -> list[RawReply]:
        """Return the replies that are complete now, in order; those before a fault are still returned."""
        replies: list[RawReply] = []
        if self.fault is not None:
            return replies
        octets = self._rest + data if self._rest else data
        start = 0
        while self.fault is None and (end := octets.find(b"\n", start)) >= 0:
            self._octets += end + 1 - start
            reply = self._line(octets[start : end + 1])
            start = end + 1
            if reply is not None:
                replies.append(reply)
        self._rest = octets[start:]
        if self.fault is None and self._octets + len(self._rest) > LIMIT:
            self.fault = f"a reply of more than {LIMIT} octets"
        return replies

    def _line(self, line: bytes) -> RawReply | None:
        """Take one line with its ending; return the reply that it completes."""
        if self._octets > LIMIT:
            self.fault = f"a reply of more than {LIMIT} octets"
            return None
        if not line.endswith(b"\r\n"):
            self.fault = "a line that ends with a bare LF"
            return None
        match = _LINE.fullmatch(line, 0, len(line) - 2)
        if match is None:
            self.fault = "a line that is no reply"
            return None
        code, separator, text = match.groups()
        if self._code is not None and code != self._code:
            self.fault = "a reply with two codes"
            return None
        self._lines.append(_words(text or b""))
        if separator == b"-":
            self._code = code
            return None
        reply = RawReply(int(code), tuple(self._lines))
        self._code, self._lines, self._octets = None, [], 0
        return reply


def _words(octets: bytes) -> str:
    """Return the text of a line; what cannot be shown on one line becomes a space."""
    text = octets.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
