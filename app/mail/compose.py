"""Writes the content of a message (RFC 5322, MIME) as a plan: what is ready, and what is still to be encoded.

The size is known before the first octet is written, and an attachment is never held a second time. Not in the content:
Bcc, and the Date line, which goes before it on the wire (``date_line``). The parts stand as mail programs expect them:
multipart/alternative (text, html, invitation) within multipart/related (inline files) within multipart/mixed (files),
each level only where it is needed. Message-ID, boundary and time are arguments. Pure.

Decisions: line breaks of texts become CRLF. Without ``text``, one is made of the html; ``""`` opts out. A calendar
object with a ``method`` is an invitation, which programs look for beside the text, unless it was asked for as a file.
An attached message goes as ``application/octet-stream`` (see ``app/mail/mime.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from app.mail import headers, mime
from app.mail.address import NamedAddress
from app.mail.base64_lines import count_letters, encode
from app.mail.characters import CONTROL, fault_in_line, text_octets
from app.mail.draft import Attachment, Draft
from app.mail.html_text import text_of
from app.mail.plan import Base64Text, ContentError, FilePart, Literal, Piece, Plan, Zone, slot_of

# What Exchange takes of header lines before it answers 552 5.3.4.
HEADER_LIMIT: Final = 256 * 1024
ORIGINAL_TO: Final = "X-Postroom-Original-To"

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,60}")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_DATE_OCTETS: Final = len("Date: Wed, 25 Nov 2026 10:00:00 +0000\r\n")
_CHARACTERS: Final = {
    CONTROL: "must not contain control characters",
    "lone_surrogate": "must not contain half a surrogate pair",
}


def date_line(when: datetime) -> bytes:
    """Return the Date line of an aware instant, in UTC (RFC 5322 §3.6.1); always of the same length."""
    if when.tzinfo is None:
        raise ValueError("the instant of a Date line must be aware")
    return _date_line((when - _EPOCH) // _SECOND)


@lru_cache(maxsize=64)
def _date_line(second: int) -> bytes:
    """Return the line of a second since 1970: what is taken in or sent together shares it."""
    at = _EPOCH + second * _SECOND
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"Date: {day}, {at.day:02} {month} {at.year:04} {at:%H:%M:%S} +0000\r\n".encode()


def compose(draft: Draft, *, message_id: str, boundary: str) -> Plan:
    """Return the plan of a draft's content.

    ``message_id`` with its angle brackets, ASCII; ``boundary`` up to 60 characters of chance. Attachments without
    ``content`` become ``FilePart``: their size and octets are added by the caller. Raises ``ContentError`` for
    everything that can be told without reading base64; what is wrong with that shows when the plan is read.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("not a boundary of RFC 2046 §5.1.1")
    writer = _Writer(boundary)
    writer.write(_head(draft, message_id))
    texts = list(_texts(draft))
    if draft.attachments:
        _with_files(writer, draft, texts)
    elif len(texts) == 1:
        writer.text(*texts[0])
    else:
        _alternative(writer, texts, [])
    size = _DATE_OCTETS + sum([piece.size for piece in writer.pieces()])
    return Plan(writer.pieces(), size, _needs_smtputf8(draft))


def _needs_smtputf8(draft: Draft) -> bool:
    everybody = (draft.sender, *draft.to, *draft.cc, *draft.bcc, *draft.reply_to)
    told = draft.redirect_to is not None and draft.redirect_to.needs_smtputf8
    return told or True in [each.address.needs_smtputf8 for each in everybody]


# ---------------------------------------------------------------- head


def _head(draft: Draft, message_id: str) -> str:
    """Return the lines of the head, but for Date and for what belongs to the body's outermost part."""
    lines = [_addresses("From", "/from", (draft.sender,))]
    if draft.reply_to:
        lines.append(_addresses("Reply-To", "/reply_to", draft.reply_to))
    if draft.to:
        lines.append(_addresses("To", "/to", draft.to))
    if draft.cc:
        lines.append(_addresses("Cc", "/cc", draft.cc))
    if not (draft.to or draft.cc):
        # A message without any destination field looks like spam to filters (RFC 5322 §3.4, a group without members).
        lines.append("To: undisclosed-recipients:;\r\n")
    _check_line(draft.subject, "/subject")
    lines.append(headers.unstructured("Subject", draft.subject))
    lines.append(f"Message-ID: {message_id}\r\n")
    if draft.headers:
        lines += _custom(draft.headers)
    if draft.redirect_to is not None:
        lines.append(_original_to(draft))
    lines.append("MIME-Version: 1.0\r\n")
    head = "".join(lines)
    if len(head) > HEADER_LIMIT:
        raise ContentError("header_too_large", "", f"has more than {HEADER_LIMIT // 1024} KiB of header lines")
    return head


def _original_to(draft: Draft) -> str:
    """Return the field that tells for whom a redirected message was, those of Bcc among them, each once."""
    everybody: dict[str, str] = {}
    for each in (*draft.to, *draft.cc, *draft.bcc):
        everybody.setdefault(each.address.key, each.address.wire)
    return headers.unstructured(ORIGINAL_TO, ", ".join(everybody.values()))


def _check_line(text: str, pointer: str) -> None:
    fault = fault_in_line(text)
    if fault:
        raise ContentError(fault, pointer, _CHARACTERS[fault])


def _addresses(name: str, pointer: str, addresses: tuple[NamedAddress, ...]) -> str:
    for place, each in enumerate(addresses):
        if each.name:
            _check_line(each.name, pointer if name == "From" else f"{pointer}/{place}")
    return headers.mailboxes(name, addresses)


def _custom(given: Iterable[tuple[str, str]]) -> Iterator[str]:
    values: dict[str, str] = {}
    for name, value in given:
        pointer = f"/headers/{name.replace('~', '~0').replace('/', '~1')}"
        fault = headers.check_header(name, value)
        if name.lower() in values:
            fault = "stands twice"
        if fault:
            raise ContentError("header", pointer, fault)
        values[name.lower()] = value
        yield headers.custom(name, value)
    # RFC 8058 §3.1: one click needs an https URI to go to.
    if "list-unsubscribe-post" in values and "<https:" not in values.get("list-unsubscribe", "").lower():
        text = "needs a List-Unsubscribe with an https URI beside it"
        raise ContentError("header", "/headers/List-Unsubscribe-Post", text)


# ---------------------------------------------------------------- body


class _Writer:
    """Collects octets and pieces in order, and opens and closes multiparts."""

    def __init__(self, boundary: str) -> None:
        self._boundary = boundary
        self._opened = 0
        self._ready: list[bytes] = []
        self._pieces: list[Piece] = []

    def write(self, text: str) -> None:
        self._ready.append(text.encode())

    def text(self, subtype: str, octets: bytes) -> None:
        self.write(mime.text_head(subtype))
        self._ready.append(encode(octets))

    def file(self, head: str, body: Piece) -> None:
        self.write(head)
        self._flush()
        self._pieces.append(body)

    def open(self, subtype: str, root: str | None = None) -> str:
        """Begin a multipart; return its boundary. The number keeps one from being the beginning of another."""
        self._opened += 1
        boundary = f"{self._boundary}_{self._opened}"
        self.write(mime.multipart_head(subtype, boundary, root))
        return boundary

    def part(self, boundary: str) -> None:
        self.write(f"--{boundary}\r\n")

    def close(self, boundary: str) -> None:
        self.write(f"--{boundary}--\r\n")

    def pieces(self) -> tuple[Piece, ...]:
        self._flush()
        return tuple(self._pieces)

    def _flush(self) -> None:
        if self._ready:
            self._pieces.append(Literal(b"".join(self._ready)))
            self._ready = []


_Text = tuple[str, bytes]  # subtype, octets
_File = tuple[str, Piece]  # head, body


def _texts(draft: Draft) -> Iterator[_Text]:
    """Yield the texts, the plain one first (RFC 2046 §5.1.4: what readers prefer stands last)."""
    text, rich = draft.text, draft.html
    octets = None if rich is None else _octets(rich, "/html")
    if text is None and rich is not None:
        text = text_of(rich)
    if text or rich is None:
        yield "plain", _octets(text or "", "/text")
    if octets is not None:
        yield "html", octets


def _octets(text: str, pointer: str) -> bytes:
    try:
        return text_octets(text)
    except ValueError as error:
        raise ContentError(str(error), pointer, _CHARACTERS[str(error)]) from None


def _alternative(writer: _Writer, texts: list[_Text], invitations: list[_File]) -> None:
    """Write the texts and an invitation as one choice."""
    if len(texts) + len(invitations) == 1:
        writer.text(*texts[0])
        return
    boundary = writer.open("alternative")
    for subtype, octets in texts:
        writer.part(boundary)
        writer.text(subtype, octets)
    for head, body in invitations:
        writer.part(boundary)
        writer.file(head, body)
    writer.close(boundary)


def _with_files(writer: _Writer, draft: Draft, texts: list[_Text]) -> None:
    """Write the levels that files need around the texts."""
    files: dict[Zone, list[_File]] = {zone: [] for zone in Zone}
    arrivals = 0
    for place, attachment in enumerate(draft.attachments):
        zone, head = _placed(draft, attachment, place)
        if attachment.content is None:
            body: Piece = FilePart(attachment.part or "", slot_of(zone, arrivals))
            arrivals += 1
        else:
            body = Base64Text(attachment.content, count_letters(attachment.content), f"/attachments/{place}/content")
        if zone is Zone.INVITATION and files[zone]:
            text = "is a second calendar object with a method; send it as a message of its own or as a file"
            raise ContentError("invitation_twice", f"/attachments/{place}/content_type", text)
        files[zone].append((head, body))
    opened = []
    if files[Zone.FILE]:
        opened.append((writer.open("mixed"), files[Zone.FILE]))
        writer.part(opened[-1][0])
    if files[Zone.INLINE]:
        root = "multipart/alternative" if len(texts) + len(files[Zone.INVITATION]) > 1 else f"text/{texts[0][0]}"
        opened.append((writer.open("related", root), files[Zone.INLINE]))
        writer.part(opened[-1][0])
    _alternative(writer, texts, files[Zone.INVITATION])
    for boundary, members in reversed(opened):
        for head, body in members:
            writer.part(boundary)
            writer.file(head, body)
        writer.close(boundary)


def _placed(draft: Draft, attachment: Attachment, place: int) -> tuple[Zone, str]:
    """Return where a file stands and its head."""
    pointer = f"/attachments/{place}"
    media_type = mime.read_media_type(attachment.content_type)
    if media_type is None:
        text = "must be a content type such as application/pdf, and not multipart"
        raise ContentError("media_type", f"{pointer}/content_type", text)
    fault = mime.fault_in_filename(attachment.filename)
    if fault:
        raise ContentError("filename", f"{pointer}/filename", fault)
    if attachment.content_id is not None and not mime.is_content_id(attachment.content_id):
        text = "must have 1 to 128 ASCII characters, without spaces and angle brackets"
        raise ContentError("content_id", f"{pointer}/content_id", text)
    zone = zone_of(draft, attachment)
    disposition = {Zone.INVITATION: None, Zone.INLINE: "inline", Zone.FILE: "attachment"}[zone]
    if attachment.is_inline and zone is Zone.FILE:
        disposition = "inline"
    return zone, mime.file_head(media_type, attachment.filename, disposition, attachment.content_id)


def zone_of(draft: Draft, attachment: Attachment) -> Zone:
    """Return where among the parts an attachment of a draft stands."""
    media_type = mime.read_media_type(attachment.content_type)
    if media_type is not None and media_type.is_invitation and not attachment.is_file:
        return Zone.INVITATION
    # Without html nothing refers to an inline file; it is shown where it stands.
    return Zone.INLINE if attachment.is_inline and draft.html is not None else Zone.FILE
