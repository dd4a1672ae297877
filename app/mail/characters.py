"""Which characters may stand in one line of a mail header, and which in a text of several lines.

Everything a caller wrote passes here before it becomes part of a message: nothing can end a line early, and nothing
fails to encode once the message is accepted. Pure.
"""

from __future__ import annotations

import re
from typing import Final

CONTROL: Final = "control_character"
SURROGATE: Final = "lone_surrogate"

# C0, DEL and C1 (NEL among them), and the separators that some readers take for the end of a line.
_IN_LINE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Tab, line feed, form feed and carriage return are what a text may have.
_IN_TEXT: Final = bytes(octet for octet in (*range(32), 127) if octet not in b"\t\n\f\r")
_LINE_BREAK: Final = re.compile(b"\r\n?|\n")


def fault_in_line(text: str) -> str | None:
    """Return the code of what keeps a text out of a header line, None where nothing does."""
    if text.isascii() and text.isprintable():
        return None
    if _SURROGATE.search(text):
        return SURROGATE
    return CONTROL if _IN_LINE.search(text) else None


def text_octets(text: str) -> bytes:
    """Return a text of several lines in UTF-8 with CRLF after each line, whatever its breaks were (RFC 2046 §4.1.1).

    CR, LF and CRLF are each one break: neither may stand alone in a text part. Raises ``ValueError`` whose text is
    the code of what keeps the text out of a message.
    """
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        raise ValueError(SURROGATE) from None
    if len(octets.translate(None, _IN_TEXT)) != len(octets):
        raise ValueError(CONTROL)
    if b"\r" in octets:
        return _LINE_BREAK.sub(b"\r\n", octets)
    return octets.replace(b"\n", b"\r\n")
