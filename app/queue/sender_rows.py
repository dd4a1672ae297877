"""The values of the breaker that survive a restart: senders, refusals of a mailbox, refused addresses.

Plain and frozen; no SQL, no engine. Times are aware UTC; ``boot`` is seconds of the clock that never jumps and means
something only beside its ``boot_id``. A family is one of Exchange's continuous errors (``app.mail.verdict``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Strikes:
    """Refusals of one family that a sender has had since its last success: how many, and when the last one came."""

    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """Why a sender is held: the family, what happened, what to do, since when."""

    reason: str
    cause: str
    cure: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SenderRow:
    """What is known of a (tenant, From) pair; ``pair`` is its number, ``sender_key`` the comparison form of From.

    ``is_proven``: the next hop took a message of it, and it was not released since. ``revision`` grows with each
    change, so that of two writes the later one stands.
    """

    pair: int
    tenant: str
    sender_key: str
    revision: int = 0
    is_proven: bool = False
    last_success_at: datetime | None = None
    strikes: Mapping[str, Strikes] = field(default_factory=dict)
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class FamilyRefusal:
    """A transaction that the next hop counts as a refusal of a family against a mailbox."""

    attempt: int
    mailbox: str
    family: str
    at: datetime
    boot_id: str
    boot: float


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """An address that a connection refused, in the server's words; ``pair`` learnt it, ``until`` it is not tried."""

    connection: str
    key: str
    pair: int
    reply: Reply
    cause: str | None
    cure: str | None
    until: datetime


@dataclass(frozen=True, slots=True)
class SenderChange:
    """What an attempt changed of all this; ``sender`` is None where the pair's record stays as it was."""

    sender: SenderRow | None = None
    refusals: tuple[FamilyRefusal, ...] = ()
    addresses: tuple[RefusedAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class SenderRecords:
    """Everything that is kept, as read at start."""

    senders: tuple[SenderRow, ...]
    refusals: tuple[FamilyRefusal, ...]
    addresses: tuple[RefusedAddress, ...]
