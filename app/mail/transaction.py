"""What a transaction is made of: the envelope that goes in, the replies that come out, and how it ended.

The words in which delivery and the wire speak with each other; both rooms know this file and not each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Envelope:
    """Return path and recipients (RFC 5321 §2.3.1), ready for the wire.

    ``recipients`` are wire forms, in the order in which their replies are told; ``size`` is the octets of the content
    as declared by SIZE= (RFC 1870); ``smtputf8`` whether a local part needs SMTPUTF8 (RFC 6531).
    """

    return_path: str
    recipients: tuple[str, ...]
    size: int
    smtputf8: bool = False


class Content(Protocol):
    """The content of one message, CRLF lines, not dot-stuffed, read once per transaction, never whole in memory."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the octets in order, in pieces of at most 256 KiB."""
        ...


# Commits the hand-over mark; True: the last chunk and the dot may be written. False or an error: never a dot.
HandOver = Callable[[], Awaitable[bool]]


class Fate(StrEnum):
    """How a transaction ended, as far as taking is concerned."""

    ANSWERED = "answered"  # every expected reply came; read them
    NOT_TAKEN = "not-taken"  # cut or ended before the dot was written (RFC 5321 §4.1.1.10)
    WITHHELD = "withheld"  # the mark was refused: canceled, expired or claim lost; no dot was written
    UNANSWERED = "unanswered"  # dot written, no complete reply line: unknown (RFC 1047)


@dataclass(frozen=True, slots=True)
class Replies:
    """What the server answered in one transaction.

    ``recipients`` runs parallel to the envelope's. ``dot`` is the reply to the final dot. ``trouble`` says in plain
    words what cut a transaction that was not answered. ``incident`` names a reply that contradicts the protocol.
    """

    fate: Fate
    mail: Reply | None
    recipients: tuple[Reply | None, ...]
    data: Reply | None
    dot: Reply | None
    trouble: str | None = None
    incident: str | None = None


class ConnectTrouble(Exception):
    """A session could not be opened; no credential was refused. Concerns the connection, no message.

    ``reason`` is a bounded word for metrics (``dns refused timeout unreachable closed tls-name tls-expired
    tls-not-yet-valid tls-untrusted tls-failed starttls-missing injected greeting reply token``), ``text`` a
    sentence for people, ``reply`` the server's words where there were some, ``retry_after`` seconds where the other
    side named a wait.
    """

    def __init__(self, reason: str, text: str, reply: Reply | None = None, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.reply = reply
        self.retry_after = retry_after


class SignInRefused(Exception):
    """The server (or the token endpoint) refused our credential; a matter of the mailbox, of no message.

    ``reply`` is the server's reply (phase auth) or None where the token endpoint refused; ``code`` is the word shown
    as the reason (``535 5.7.139``, ``AADSTS7000215``), ``text`` a sentence without any secret. ``refusals`` counts the
    sign-ins that the server refused: two where a fresh token was tried as well.
    """

    refusals = 1

    def __init__(self, code: str, text: str, reply: Reply | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.reply = reply
