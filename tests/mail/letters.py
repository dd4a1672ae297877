"""What the tests of composing share: drafts, and the standard library's reading of what was written.

The library is a judge with weaknesses of its own, so each value is taken where it reads rightly: the number of
addresses and their addr-specs from its modern parser, names and subjects by the older decoder, which alone drops the
space between encoded words on every Python.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.errors import NonASCIILocalPartDefect, UndecodableBytesDefect
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

from app.mail.address import NamedAddress, parse_address, parse_named
from app.mail.compose import compose
from app.mail.draft import Attachment, Draft
from app.mail.plan import Plan

MESSAGE_ID = "<msg_01@example.com>"
BOUNDARY = "msg_01"
DATE_OCTETS = len("Date: Wed, 25 Nov 2026 10:00:00 +0000\r\n")


def draft(**changes: Any) -> Draft:
    """Return a small draft with some fields changed."""
    fields = {"sender": parse_named("Billing <billing@example.com>"), "to": (parse_named("ada@customer.example"),)}
    if "html" not in changes:
        fields["text"] = "Hello"
    return Draft(**(fields | changes))


def named(name: str | None, address: str = "ada@customer.example") -> NamedAddress:
    return NamedAddress(parse_address(address), name)


def file(
    content: bytes | str = b"octets", name: str = "a.pdf", kind: str = "application/pdf", **more: Any
) -> Attachment:
    text = content if isinstance(content, str) else b64encode(content).decode()
    return Attachment(name, kind, text, **more)


def plan_of(message: Draft) -> Plan:
    return compose(message, message_id=MESSAGE_ID, boundary=BOUNDARY)


def written(message: Draft) -> bytes:
    """Return the content, after checking what every content keeps: its size, its chunks and its lines."""
    plan = plan_of(message)
    chunks = list(plan.chunks())
    assert all(0 < len(chunk) <= 256 * 1024 for chunk in chunks)
    octets = b"".join(chunks)
    assert plan.size == len(octets) + DATE_OCTETS
    check_lines(octets)
    assert plan.needs_smtputf8 or octets.isascii()
    return octets


def check_lines(octets: bytes) -> None:
    """Assert that lines end in CRLF, none is too long, none begins with a dot, and a word's line is short."""
    assert octets.endswith(b"\r\n")
    lines = octets.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert all(len(line) <= 998 for line in lines)
    assert not any(line.startswith(b".") for line in lines)
    assert not any(line and not line.strip() for line in lines)
    head = octets.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(len(line) <= 76 for line in head if re.search(rb"=\?utf-8\?B\?[A-Za-z0-9+/=]+\?=", line))


@dataclass(frozen=True)
class Part:
    """A leaf: its type, its file's name and its octets."""

    kind: str
    filename: str | None
    disposition: str | None
    content_id: str | None
    octets: bytes


@dataclass(frozen=True)
class Letter:
    """What a reader finds in a message; addresses are pairs of name and addr-spec."""

    addresses: dict[str, list[tuple[str, str]]]
    subject: str
    parts: list[Part]


def parsed(octets: bytes) -> EmailMessage:
    return message_from_bytes(octets, policy=policy.default)  # type: ignore[return-value]


def unfolded(message: EmailMessage, name: str) -> str | None:
    """Return a field as it stands in the message, its folds undone; eight-bit octets as UTF-8."""
    for key, value in message.raw_items():
        if key.lower() == name.lower():
            text = re.sub(r"\r?\n(?=[ \t])", "", str(value)).removeprefix(" ")
            return as_utf8(text)
    return None


def as_utf8(text: str) -> str:
    """Return what the parser could not decode, which it keeps octet by octet, as UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode()


def decoded(text: str) -> str:
    return str(make_header(decode_header(text)))


def read(octets: bytes) -> Letter:
    """Read a message with the standard library; assert that it finds no fault."""
    message = parsed(octets)
    addresses = {}
    for field in ("From", "Reply-To", "To", "Cc"):
        header = message[field]
        if header is None:
            continue
        raw = unfolded(message, field)
        assert raw is not None
        old = [(decoded(name), spec) for name, spec in getaddresses([raw]) if spec]
        assert [as_utf8(each.addr_spec) for each in header.addresses] == [spec for _, spec in old]
        addresses[field] = old
    parts = []
    for part in message.walk():
        assert part.defects == []
        for value in part.values():
            # Eight-bit addresses (RFC 6532) are told as defects by a parser that does not expect them.
            known = () if octets.isascii() else (NonASCIILocalPartDefect, UndecodableBytesDefect)
            assert [each for each in value.defects if not isinstance(each, known)] == []
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            cid = part["Content-ID"]
            parts.append(
                Part(
                    part.get_content_type(),
                    _filename(part),
                    part.get_content_disposition(),
                    None if cid is None else str(cid),
                    payload,
                )
            )
    return Letter(addresses, decoded(unfolded(message, "Subject") or ""), parts)


def _filename(part: EmailMessage) -> str | None:
    """Return a file's name as its header says it; ``get_filename`` would take quotes off that belong to the name."""
    header = part["Content-Disposition"]
    return None if header is None else header.params.get("filename")


def crlf(text: str) -> bytes:
    return re.sub("\r\n|\r|\n", "\r\n", text).encode()


def pairs(addresses: tuple[NamedAddress, ...]) -> list[tuple[str, str]]:
    return [(each.name or "", each.address.wire) for each in addresses]


def expected_parts(message: Draft) -> list[Part]:
    """Return the parts that a draft without invitations should have, in order."""
    texts = []
    if message.text or message.html is None:
        texts.append(Part("text/plain", None, None, None, crlf(message.text or "")))
    if message.html is not None:
        texts.append(Part("text/html", None, None, None, crlf(message.html)))
    inline = [each for each in message.attachments if each.is_inline and message.html is not None]
    others = [each for each in message.attachments if each not in inline]
    return texts + [_expected(each) for each in (*inline, *others)]


def _expected(attachment: Attachment) -> Part:
    kind = attachment.content_type.partition(";")[0].lower()
    if kind.startswith("message/"):
        kind = "application/octet-stream"
    return Part(
        kind,
        attachment.filename or None,
        "inline" if attachment.is_inline else "attachment",
        f"<{attachment.content_id}>" if attachment.content_id else None,
        b64decode(attachment.content or ""),
    )
