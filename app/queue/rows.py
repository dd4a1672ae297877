"""The values that go into the store and come out of it.

Plain and frozen; no SQL, no engine. Times are aware UTC; ``boot`` values are seconds of the clock that never jumps and
mean something only beside their ``boot_id``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.mail.message import AttemptOutcome, Kind, Priority, Result, Work
from app.mail.reply import Reply
from app.queue.sender_rows import SenderChange

# ---------------------------------------------------------------- taking in


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One RCPT of a message to be stored.

    ``address`` as given, ``key`` its comparison form, ``wire`` its envelope form. A result other than pending is
    already final at accept (test keys, remembered refusals).
    """

    address: str
    key: str
    wire: str
    kind: Kind
    result: Result = Result.PENDING
    reply: Reply | None = None
    cause: str | None = None
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key and the answer to repeat: unique per (tenant, route, key)."""

    route: str
    key: str
    fingerprint: bytes
    status: int
    location: str
    body: bytes


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """A tenant's limit, counted in the accept transaction: ``unit`` is ``messages`` or ``recipients``."""

    name: str
    unit: str
    quota: int
    window_seconds: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A composed message, ready to be stored in one transaction.

    ``content`` holds the chunks (≤ 256 KiB each) of small content; None says they were staged under ``id`` before.
    ``date`` is the instant of the Date line, the later of accept and ``scheduled_at``; ``sender_key`` the comparison
    form of From, ``sender`` the header as shown. ``size`` is octets on the wire.
    """

    id: str
    tenant: str
    sender: str
    sender_key: str
    subject: str
    message_id: str
    created_at: datetime
    scheduled_at: datetime | None
    due_at: datetime
    expires_at: datetime
    date: datetime
    priority: Priority
    size: int
    smtputf8: bool
    tags: tuple[tuple[str, str], ...]
    metadata: Mapping[str, str]
    recipients: tuple[NewRecipient, ...]
    content: Sequence[bytes] | None
    is_test: bool = False
    source: str = "api"
    key_id: str = ""
    request_id: str = ""
    idempotency: Idempotency | None = None
    quotas: tuple[QuotaPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class QuotaState:
    """What is left of one policy and in how many seconds room appears (0: there is room)."""

    policy: QuotaPolicy
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """Stored and on disk. ``lane`` is where it waits, or None where nothing is left to do."""

    lane: LaneKey | None
    quotas: tuple[QuotaState, ...] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """The idempotency key was known with the same fingerprint: the answer of then."""

    status: int
    location: str
    body: bytes


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The idempotency key was known with another fingerprint."""


@dataclass(frozen=True, slots=True)
class OverQuota:
    """A tenant limit has no room; nothing was stored."""

    violated: tuple[QuotaState, ...]
    quotas: tuple[QuotaState, ...]


# ---------------------------------------------------------------- sending


@dataclass(frozen=True, slots=True, order=True)
class LaneKey:
    """A queue within the queue: all waiting messages of one (tenant, From) pair in one priority class."""

    pair: int
    priority: Priority


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane as found at start: how much waits in it and when the first is due.

    ``dues``: when some of it is due, and how many within a minute from then.
    """

    key: LaneKey
    tenant: str
    sender_key: str
    waiting: int
    next_due: datetime
    dues: tuple[tuple[datetime, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimedRecipient:
    """A recipient that still needs the message; ``no`` is its place in the message."""

    no: int
    wire: str
    key: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt; the attempt row is committed before a claim exists.

    ``tries`` counts the attempts that counted before this one, ``unknowns`` those of them that ended unknown.
    """

    attempt: int
    number: int
    message: str
    lane: LaneKey
    tenant: str
    sender_key: str
    mailbox: str
    message_id: str
    date: datetime
    created_at: datetime
    expires_at: datetime
    size: int
    smtputf8: bool
    tries: int
    unknowns: int
    recipients: tuple[ClaimedRecipient, ...]
    content: bytes | None  # the whole content where it is one chunk, else None: stream it


@dataclass(frozen=True, slots=True)
class PickRequest:
    """Ask for up to ``count`` due messages of one lane, for one mailbox and its limits (0: none).

    ``only_domains``: only messages whose pending recipients are all of these domains; None: any.
    """

    lane: LaneKey
    mailbox: str
    now: datetime
    boot: float
    boot_id: str
    count: int = 1
    max_size: int = 0
    max_recipients: int = 0
    only_domains: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Picked:
    """What a pick gave: the claims, and when the lane's next message is due (None: the lane is empty)."""

    claims: tuple[Claim, ...]
    next_due: datetime | None


@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """What an attempt says of one recipient. ``result`` pending: it stays so, but keeps the words.

    ``is_doubtful``: it is tried again although it may have been reached.
    """

    no: int
    result: Result
    reply: Reply | None
    cause: str | None = None
    cure: str | None = None
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt and what follows for its message.

    ``counted`` says whether it is a try. ``charged`` is how many recipients it costs in the day's window (250 or
    unknown). If a recipient is pending afterwards, the message goes to ``next_work`` (queued, deferred or held) with
    ``due_at``; else if one is unknown and ``hold_unknown`` is set, it is held; else it is done. ``sender`` is what the
    attempt tells of its sender, kept in the same transaction.
    """

    attempt: int
    message: str
    at: datetime
    boot: float
    outcome: AttemptOutcome
    counted: bool
    reply: Reply | None
    charged: int
    recipients: tuple[RecipientOutcome, ...]
    next_work: Work = Work.QUEUED
    due_at: datetime | None = None
    hold_unknown: bool = False
    resend_unknown: bool = False
    trouble: str | None = None
    sender: SenderChange | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What the store made of a settlement: the state of the message now and when it is due again, if it is."""

    work: Work
    lane: LaneKey
    due_at: datetime | None
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt found without an outcome at start."""

    claim: Claim
    is_marked: bool


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What the ledger must know of one attempt: when it occupied the windows, and what it costs a day."""

    mailbox: str
    boot_id: str
    started_at: datetime
    started_boot: float
    ended_at: datetime | None
    ended_boot: float | None
    charged: int


@dataclass(frozen=True, slots=True)
class ClockSeen:
    """How the wall clock and the clock that never jumps stood to each other at one instant."""

    boot_id: str
    boot: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Expired:
    """A message of which recipients have just expired; ``has_left``: it waited in its lane until then."""

    message: str
    lane: LaneKey
    work: Work
    has_left: bool = True


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A mailbox that stands still. ``fingerprint`` is of the credential it was parked with; ``probe_at`` when one
    sign-in may be tried (None: never), ``probes`` how many were.
    """

    mailbox: str
    reason: str
    cause: str
    cure: str
    since: datetime
    until: datetime | None
    fingerprint: str
    probes: int = 0
    probe_at: datetime | None = None
