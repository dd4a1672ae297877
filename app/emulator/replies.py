"""The words of the server: how a reply is written, and what Exchange Online says when all is well.

Shapes as seen on smtp.office365.com:587; names of hosts are the emulator's own. A reply is kept as one text, code
first, ``\\n`` between lines; the text behind the code is repeated behind it on every line (RFC 5321 §4.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from email.utils import format_datetime

FRONT = "EM0P282CA0001.emulator.postroom"
BACK = "EM0P282MB0001.EMUP282.PROD.EMULATOR.POSTROOM"

# Stands in a reply for what Exchange's front end puts in brackets behind its refusals: host, time, session.
TRAIL = "{trail}"

STARTTLS_READY = "220 2.0.0 SMTP server ready"
SIGNED_IN = "235 2.7.0 Authentication successful"
SENDER_OK = "250 2.1.0 Sender OK"
RECIPIENT_OK = "250 2.1.5 Recipient OK"
START_INPUT = "354 Start mail input; end with <CRLF>.<CRLF>"
RESETTING = "250 2.0.0 Resetting"
NOOP_OK = "250 2.0.0 OK"
CLOSING = "221 2.0.0 Service closing transmission channel"
CANNOT_VERIFY = "252 2.1.5 Cannot VRFY user"

IDLE_TOO_LONG = "451 4.7.0 Timeout waiting for client input"
TOO_MANY_SESSIONS = "421 4.3.2 Service not available, too many connections"
TOO_MANY_ERRORS = "421 4.7.0 Too many errors on this connection, closing transmission channel"
STARTTLS_FIRST = "530 5.7.0 Must issue a STARTTLS command first"
HELLO_FIRST = "503 5.5.2 Send hello first"
MAIL_FIRST = "503 5.5.2 Need mail command"
RCPT_FIRST = "503 5.5.2 Need rcpt command"
MAIL_TWICE = "503 5.5.2 Sender already specified"
BAD_SEQUENCE = "503 5.5.2 Bad sequence of commands"
UNRECOGNIZED = "500 5.3.3 Unrecognized command"
LINE_TOO_LONG = "500 5.3.3 Line too long"
BARE_NEWLINE = "500 5.5.2 A line must end with CRLF"
NO_ARGUMENT = "501 5.5.4 Invalid domain name"
BAD_ARGUMENT = "501 5.5.4 Invalid arguments"
BAD_PARAMETER = "501 5.5.4 Unrecognized parameter"
BAD_SENDER = "501 5.1.7 Invalid address"
BAD_RECIPIENT = "501 5.1.3 Invalid address"
NO_RECIPIENTS = "554 5.5.1 No valid recipients"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"
TOO_LARGE = "552 5.3.4 Message size exceeds fixed maximum message size"
NO_MEMORY = "452 4.3.1 Insufficient system resources"

_SHAPE = re.compile(r"[2-5][0-9]{2}(?: [^\r\0]*)?", re.DOTALL)


def check_reply(reply: str) -> str:
    """Return a reply as it is; raises ValueError unless it is a code of three digits and a text."""
    if not _SHAPE.fullmatch(reply):
        raise ValueError(f"a reply is a code of three digits, a space and a text, not {reply[:60]!r}")
    return reply


def code_of(reply: str) -> int:
    """Return the reply code."""
    return int(reply[:3])


def encode(reply: str) -> bytes:
    """Return a reply as it goes over the wire."""
    code, *lines = reply[:3], *reply[4:].split("\n")
    last = len(lines) - 1
    return "".join(f"{code}{' ' if at == last else '-'}{line}\r\n" for at, line in enumerate(lines)).encode()


def session_mark(number: int) -> str:
    """Return the 16 hexadecimal digits by which Exchange names a session in its banner and in refusals."""
    return f"{0x08DE2A6000000000 + number:016X}"


def with_trail(reply: str, number: int, now: datetime) -> str:
    """Return a reply with its ``TRAIL`` filled in."""
    stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return reply.replace(TRAIL, f"[{FRONT} {stamp} {session_mark(number)}]")


def banner(number: int, now: datetime) -> str:
    """Return the greeting of a session."""
    return f"220 {FRONT} Microsoft ESMTP MAIL Service ready at {format_datetime(now)} [{session_mark(number)}]"


def hello(peer: str, size: int, *, is_tls: bool, without: Collection[str]) -> str:
    """Return the answer to EHLO; ``without`` names keywords that are left out (STARTTLS out: AUTH in the clear)."""
    is_open = is_tls or "STARTTLS" in without
    keywords = [
        f"SIZE {size}",
        "PIPELINING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "AUTH LOGIN XOAUTH2" if is_open else "STARTTLS",
        "8BITMIME",
        "SMTPUTF8",
    ]
    offered = [keyword for keyword in keywords if keyword.partition(" ")[0] not in without]
    return "\n".join((f"250 {FRONT} Hello [{peer}]", *offered))


def taken(message_id: str) -> str:
    """Return the reply to the dot of a message that was taken."""
    return f"250 2.0.0 OK {message_id} [Hostname={BACK}]"
