"""Judges a reply: what happens to whom, for how long, and what a person should know and do.

Decided by phase + reply code + enhanced code + text, since the pair of codes alone misleads (``5.2.252`` has two
meanings, ``5.2.0`` is a family). Pure; the rows are in ``replies``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.mail.reply import Reply


class Outcome(StrEnum):
    """What a reply means for the recipients it concerns."""

    SENT = "sent"
    DEFERRED = "deferred"  # tried again; counts as a try
    REJECTED = "rejected"
    KEPT = "kept"  # not this message's fault: stays pending, not a try, goes when the scope is free again


class Scope(StrEnum):
    """Whose matter a verdict is."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    SENDER = "sender"  # the pair of tenant and From
    MAILBOX = "mailbox"
    CONNECTION = "connection"  # every mailbox of the same Exchange tenant
    SESSION = "session"


class Effect(StrEnum):
    """What a verdict does beyond the message itself."""

    NONE = "none"
    PARK = "park"  # the mailbox (or, in scope connection, each of its mailboxes) stops until a person acts
    STRIKE = "strike"  # counts against the (tenant, From) pair and the mailbox's family budget
    NARROW = "narrow"  # one session fewer for ten minutes
    DAY_FULL = "day-full"  # the day's window is full whatever our ledger says
    EXTERNAL_DAY_FULL = "external-day-full"  # the same for external recipients of the whole connection
    RECONNECT = "reconnect"  # the session ends; a trouble of the connection


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a reply ends: ``retry_after`` in seconds where the server or the rule names a wait.

    ``family`` names the continuous-error family of Exchange (``send-as``, ``mailbox-full``, ``license``,
    ``too-many-recipients``, ``invalid-recipient``) or None. ``cause`` and ``cure`` are sentences for people.
    """

    outcome: Outcome
    scope: Scope
    reply: Reply | None
    effect: Effect = Effect.NONE
    retry_after: float | None = None
    family: str | None = None
    cause: str | None = None
    cure: str | None = None
