"""What the emulator reads in a message: its Message-ID, its subject and who it says it is from. Pure.

Lenient on purpose: a mailer under test may send anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from email import policy
from email.header import decode_header, make_header
from email.parser import HeaderParser
from email.utils import getaddresses

HEADER_LIMIT = 256 * 1024  # Exchange's default for the header block
_PARSER = HeaderParser(policy=policy.compat32)


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that matter here; ``senders`` are the addresses of From, in order."""

    message_id: str | None
    subject: str | None
    senders: tuple[str, ...]
    has_sender_field: bool
    is_too_large: bool


def read_header(raw: bytes) -> Header:
    """Read the header block at the start of a message; 8-bit fields are taken as UTF-8 (RFC 6532)."""
    end = raw.find(b"\r\n\r\n", 0, HEADER_LIMIT + 4)
    block = raw[: end if end >= 0 else HEADER_LIMIT]
    fields = _PARSER.parsestr(block.decode("utf-8", "replace"))

    def first(name: str) -> str | None:
        value = fields.get(name)
        return None if value is None else " ".join(value.split())

    return Header(
        message_id=first("Message-ID"),
        subject=first("Subject"),
        senders=tuple(address for _, address in getaddresses(fields.get_all("From", [])) if _is_address(address)),
        has_sender_field="Sender" in fields,
        is_too_large=end < 0 and len(raw) > HEADER_LIMIT,
    )


def _is_address(text: str) -> bool:
    return all(text.rpartition("@"))


def readable(text: str) -> str:
    """Return a header text with its encoded words decoded (RFC 2047), for people."""
    try:
        return str(make_header(decode_header(text)))
    except (ValueError, LookupError):
        return text


def unstuff(content: bytes) -> bytes:
    """Take the dots off that were put before dots at line starts (RFC 5321 §4.5.2)."""
    if content.startswith(b"."):
        content = content[1:]
    return content.replace(b"\r\n.", b"\r\n")
