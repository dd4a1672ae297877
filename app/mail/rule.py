"""A rule of judging: which replies it fits and what they mean.

The words of a judgement (outcome, scope, effect, kind of sign-in trouble) and ``Row``, one line of the catalogue in
``app/mail/replies``. Pure; nothing here knows which replies exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from app.mail.reply import Phase, Reply


class Outcome(StrEnum):
    """What a reply means for the recipients it concerns."""

    SENT = "sent"
    DEFERRED = "deferred"  # tried again; counts as a try
    REJECTED = "rejected"
    KEPT = "kept"  # not this message's fault: stays pending, not a try, goes when the scope is free again
    UNKNOWN = "unknown"  # handed over, no reply that says taken or refused (RFC 1047)


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
    PARK = "park"  # the mailbox (scope connection: each of its mailboxes) stops, for the wait or until a person acts
    STRIKE = "strike"  # counts against the (tenant, From) pair and the mailbox's family budget
    NARROW = "narrow"  # one session fewer for ten minutes
    DAY_FULL = "day-full"  # the day's window is full whatever our ledger says
    EXTERNAL_DAY_FULL = "external-day-full"  # the same for external recipients of the whole connection
    RECONNECT = "reconnect"  # the session ends; a trouble of the connection


class SignInKind(StrEnum):
    """What a refused sign-in is about; decides whether it may be tried again unasked."""

    PASSWORD = "password"  # noqa: S105 (a word, no credential)
    LOCKED = "locked"
    SWITCHED_OFF = "switched-off"  # SMTP AUTH, or this way of signing in
    POLICY = "policy"
    TOKEN = "token"  # noqa: S105 (a word, no credential)
    CLIENT = "client"  # what we sent was malformed
    SERVICE = "service"  # a trouble of the other side that passes
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the catalogue: the pattern first, then what a reply that fits it means.

    ``phases`` empty: any. ``code``: three digits, one digit for the whole class, None for any. ``enhanced``: codes of
    which one must fit, ``?`` and ``*`` stand for characters, ``-`` for no code; empty: any or none. ``text`` is
    searched in the words. ``wait`` in seconds. ``sign_in`` belongs to refused sign-ins, ``by_token`` to those with
    (True) or without (False) a token. ``looks_inside``: the words carry the reply that counts. ``alerts``: worth
    telling at first sight.
    """

    phases: frozenset[Phase]
    code: int | None
    enhanced: tuple[str, ...]
    text: re.Pattern[str] | None
    outcome: Outcome
    scope: Scope
    effect: Effect = Effect.NONE
    wait: float | None = None
    family: str | None = None
    cause: str | None = None
    cure: str | None = None
    sign_in: SignInKind | None = None
    by_token: bool | None = None
    looks_inside: bool = False
    alerts: bool = False

    def fits(self, reply: Reply, words: str, by_token: bool | None = None) -> bool:
        """Whether the row is about this reply; ``words`` are its text without diagnostics."""
        return (
            (self.code is None or self.code == reply.code or self.code == reply.code // 100)
            and (not self.phases or reply.phase in self.phases)
            and (not self.enhanced or any(fnmatchcase(reply.enhanced or "-", each) for each in self.enhanced))
            and (self.by_token is None or by_token is None or self.by_token == by_token)
            and (self.text is None or self.text.search(words) is not None)
        )


def row(
    phases: str,
    code: int | None,
    enhanced: str,
    text: str | None,
    outcome: Outcome,
    scope: Scope,
    effect: Effect = Effect.NONE,
    *,
    wait: float | None = None,
    family: str | None = None,
    cause: str | None = None,
    cure: str | None = None,
    sign_in: SignInKind | None = None,
    by_token: bool | None = None,
    looks_inside: bool = False,
    alerts: bool = False,
) -> Row:
    """Write a row the short way: ``phases`` and ``enhanced`` are words with spaces between them ("" for any).

    In ``text``, a regular expression without regard to case, a space stands for any white space: a reply of several
    lines is joined wherever the server broke it.
    """
    return Row(
        phases=frozenset(Phase(word) for word in phases.split()),
        code=code,
        enhanced=tuple(enhanced.split()),
        text=re.compile(text.replace(" ", r"\s+"), re.IGNORECASE) if text is not None else None,
        outcome=outcome,
        scope=scope,
        effect=effect,
        wait=wait,
        family=family,
        cause=cause,
        cure=cure,
        sign_in=sign_in,
        by_token=by_token,
        looks_inside=looks_inside,
        alerts=alerts,
    )
