"""Writes the commands of a transaction (RFC 5321 §4.1.1). Pure."""

from __future__ import annotations

import re

from app.mail.transaction import Envelope
from app.smtp.target import Features

RSET = b"RSET\r\n"
DATA = b"DATA\r\n"

# No path that was checked at acceptance has these; here it is the last door before a command line.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>]")


def commands_of(envelope: Envelope, features: Features) -> list[bytes]:
    """Return RSET, MAIL, a RCPT for each recipient, DATA; each a line with its ending.

    RSET stands first always: it ends a transaction that the server kept open after a refusal, and costs no round trip
    where commands are pipelined (RFC 2920 §3.1). Only parameters that the server offered are used. Raises ValueError
    for an address that cannot stand in a command.
    """
    mail = b"MAIL FROM:" + _path(envelope.return_path, envelope.smtputf8)
    if features.takes_size:
        mail += b" SIZE=%d" % envelope.size
    if envelope.smtputf8:
        # Who offers SMTPUTF8 offers 8BITMIME too (RFC 6531 §3.1), and such content may have 8-bit headers.
        mail += b" BODY=8BITMIME SMTPUTF8"
    recipients = [b"RCPT TO:%b\r\n" % _path(address, envelope.smtputf8) for address in envelope.recipients]
    return [RSET, mail + b"\r\n", *recipients, DATA]


def _path(address: str, is_utf8: bool) -> bytes:
    if _UNSAFE.search(address):
        raise ValueError("an address with characters that cannot stand in a command")
    return b"<%b>" % address.encode("utf-8" if is_utf8 else "ascii")
