"""A draft: what a caller asks to be sent, validated and normalised, before it has an id or a queue place.

Every door (API, later hooks and batches) builds one; ``app/intake`` takes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from app.mail.address import Address, NamedAddress
from app.mail.message import Priority


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a draft.

    ``content`` is base64 text as received (white space allowed, checked while composing), or None where the bytes
    arrive separately as the multipart file part named ``part``. ``content_id`` (without angle brackets) makes it
    addressable from html as ``cid:``; ``is_inline`` puts it beside the html (RFC 2387). ``is_file`` says that it was
    asked for as an attachment by name: a calendar object with a ``method`` is then a file and no invitation.
    """

    filename: str
    content_type: str
    content: str | None
    part: str | None = None
    content_id: str | None = None
    is_inline: bool = False
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as asked for. Times are aware; ``text`` is None where none was given, "" where it was opted out.

    ``redirect_to`` is nobody's to ask for: on a staging system the envelope carries that address in the place of every
    recipient, and a header tells them.
    """

    sender: NamedAddress
    to: tuple[NamedAddress, ...]
    cc: tuple[NamedAddress, ...] = ()
    bcc: tuple[NamedAddress, ...] = ()
    reply_to: tuple[NamedAddress, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    redirect_to: Address | None = None
