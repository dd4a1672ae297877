"""A server's reply: code, enhanced code, words, and the phase in which they came.

Pure values. The wire (``app/smtp``) builds them, ``verdict`` judges them, the store keeps them and the API shows them;
nobody else takes reply text apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# RFC 3463 §2: class "." subject "." detail, at the head of the text.
_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class Phase(StrEnum):
    """Where in the conversation a reply came (or failed to come)."""

    CONNECT = "connect"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply of the server (RFC 5321 §4.2).

    ``code`` is the three-digit reply code, ``enhanced`` the enhanced status code (RFC 3463) or None, ``text`` all
    words behind them with the lines joined by one space, ``phase`` where it came.
    """

    code: int
    enhanced: str | None
    text: str
    phase: Phase

    @property
    def is_positive(self) -> bool:
        """Whether the reply is of class 2 or 3."""
        return 200 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """Whether the reply is of class 4."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def reply_of(code: int, lines: Sequence[str], phase: Phase) -> Reply:
    """Build a reply from its code and its lines (each without code and separator).

    The enhanced code is taken from the first line and removed from every line that repeats it (RFC 2034 §4).
    """
    match = _ENHANCED.match(lines[0]) if lines else None
    enhanced = match.group(1) if match else None
    if len(lines) == 1:
        # Nearly every reply; four of a transaction.
        return Reply(code, enhanced, lines[0][match.end() if match else 0 :].strip(), phase)
    words = []
    for line in lines:
        repeated = _ENHANCED.match(line) if enhanced else None
        words.append(line[repeated.end() :] if repeated and repeated.group(1) == enhanced else line)
    return Reply(code, enhanced, " ".join(word.strip() for word in words if word.strip()), phase)
