"""States and words of a message: the work it is in, the result of each recipient, and the legal moves between them.

The message tells about the work, the recipient about the result (DESIGN of the states: docs/operations.md). The one
word that the API shows is computed here from both and never stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Final


class Work(StrEnum):
    """Work state of a message."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"  # due again later
    HELD = "held"  # waits for a person
    DONE = "done"


class Result(StrEnum):
    """Result of one recipient."""

    PENDING = "pending"
    SENT = "sent"  # the next hop said 250; never called "delivered"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"
    SUPPRESSED = "suppressed"
    UNKNOWN = "unknown"  # handed over, no reply seen (RFC 1047)
    BOUNCED = "bounced"  # a report came back after sent


class Kind(StrEnum):
    """In which header (or none, for bcc) a recipient stands."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


class Priority(IntEnum):
    """Class of a message; the smaller number goes first."""

    URGENT = 0
    NORMAL = 1
    BULK = 2

    @property
    def word(self) -> str:
        """The word of the API."""
        return self.name.lower()


class AttemptOutcome(StrEnum):
    """How one transaction ended."""

    SENT = "sent"
    PARTLY_SENT = "partly_sent"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    ABORTED = "aborted"  # proven not taken; not counted as a try


class OnUnknown(StrEnum):
    """A tenant's policy for a recipient whose hand-over had no reply."""

    RESEND = "resend"
    HOLD = "hold"


WORK_MOVES: Final[dict[Work, frozenset[Work]]] = {
    Work.QUEUED: frozenset({Work.SENDING, Work.HELD, Work.DONE}),
    Work.SENDING: frozenset({Work.DONE, Work.DEFERRED, Work.HELD, Work.QUEUED}),
    Work.DEFERRED: frozenset({Work.SENDING, Work.HELD, Work.DONE, Work.QUEUED}),
    Work.HELD: frozenset({Work.QUEUED, Work.DEFERRED, Work.DONE}),
    Work.DONE: frozenset({Work.QUEUED}),  # retry on request; a person's word about an unknown
}

RESULT_MOVES: Final[dict[Result, frozenset[Result]]] = {
    Result.PENDING: frozenset(
        {Result.SENT, Result.REJECTED, Result.SUPPRESSED, Result.EXPIRED, Result.CANCELED, Result.UNKNOWN}
    ),
    Result.UNKNOWN: frozenset({Result.PENDING, Result.SENT, Result.REJECTED}),
    Result.REJECTED: frozenset({Result.PENDING}),
    Result.EXPIRED: frozenset({Result.PENDING}),
    Result.CANCELED: frozenset({Result.PENDING}),
    Result.SENT: frozenset({Result.BOUNCED}),
    Result.SUPPRESSED: frozenset(),
    Result.BOUNCED: frozenset(),
}


def api_status(work: Work, results: Iterable[Result], *, tried: bool, scheduled: bool) -> str:
    """Return the one word that the API shows for a message.

    ``tried`` says whether an attempt has counted, ``scheduled`` whether its time to go lies still ahead. The first
    rule that fits wins.
    """
    present = list(results)
    pending = Result.PENDING in present
    if scheduled and pending and work in (Work.QUEUED, Work.DEFERRED) and not tried:
        return "scheduled"
    if work is Work.HELD:
        return "held"
    if work is Work.SENDING:
        return "sending"
    if pending:
        return "deferred" if tried else "queued"
    if Result.UNKNOWN in present:
        return "unknown"
    sent = sum(result is Result.SENT for result in present)
    if sent:
        return "sent" if sent == len(present) else "partially_sent"
    for result in (Result.EXPIRED, Result.CANCELED):
        if present and all(each is result for each in present):
            return result.value
    return "failed"
