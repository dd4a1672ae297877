"""Judges replies: what happens to whom, for how long, and what a person should know and do.

Decided by phase + reply code + enhanced code + text, since the pair of codes alone misleads (``5.2.252`` has two
meanings, ``5.2.0`` is a family). One reply (``judge``), a whole transaction (``judge_transaction``), a refused sign-in
(``judge_sign_in``). Pure; the rows are in ``replies``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.mail.aadsts import explain
from app.mail.message import AttemptOutcome
from app.mail.redact import without_diagnostics
from app.mail.replies import CATALOGUE
from app.mail.reply import Phase, Reply
from app.mail.rule import Effect, Outcome, Row, Scope, SignInKind
from app.mail.schedule import named_wait
from app.mail.transaction import Fate, Replies

__all__ = [
    "Effect",
    "Judged",
    "Outcome",
    "Scope",
    "SignInKind",
    "SignInVerdict",
    "Verdict",
    "judge",
    "judge_lost",
    "judge_sign_in",
    "judge_transaction",
    "summed_up",
]

# 530 5.7.57 repeats the reply to the sign-in: "… Error: 535 5.7.139 Authentication unsuccessful, …"
_INSIDE = re.compile(r"Error:\s+([245]\d\d)(?:\s+([245]\.\d{1,3}\.\d{1,3}))?\s*(.*)", re.IGNORECASE | re.DOTALL)
_EXCEPTION = re.compile(r"STOREDRV\.Submission\.Exception:\s*([\w.]+)")

# The strongest first: what a mailbox must feel before anything else.
_STRENGTH: Final = (
    Effect.PARK,
    Effect.EXTERNAL_DAY_FULL,
    Effect.DAY_FULL,
    Effect.NARROW,
    Effect.STRIKE,
    Effect.RECONNECT,
)

_PHASES: Final = tuple(Phase)

# Seconds before each unasked sign-in on a parked mailbox, the last one repeats. A password is shown again only where
# the refusal did not depend on it: 30 tries in three days were seen to keep an account locked.
_TOKEN_PROBES: Final = {
    SignInKind.TOKEN: (300.0, 900.0, 3600.0),
    SignInKind.SWITCHED_OFF: (900.0, 3600.0),
    SignInKind.POLICY: (900.0, 3600.0),
    SignInKind.SERVICE: (60.0, 300.0, 900.0),
    SignInKind.OTHER: (3600.0,),
}
_PASSWORD_PROBES: Final = {
    SignInKind.SWITCHED_OFF: (900.0, 3600.0),
    SignInKind.SERVICE: (60.0, 300.0, 900.0),
}
# The token endpoint is asked again every five minutes; that shows no password to anybody.
_ENDPOINT_PROBES: Final = (300.0,)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a reply ends: ``retry_after`` in seconds where the server or the rule names a wait.

    ``family`` names the continuous-error family of Exchange (``send-as``, ``mailbox-full``, ``license``,
    ``too-many-recipients``, ``invalid-recipient``) or None. ``cause`` and ``cure`` are sentences for people. ``alert``
    is a name of Exchange's that no row knows, worth telling an operator when it is seen first.
    """

    outcome: Outcome
    scope: Scope
    reply: Reply | None
    effect: Effect = Effect.NONE
    retry_after: float | None = None
    family: str | None = None
    cause: str | None = None
    cure: str | None = None
    alert: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a transaction came to. ``recipients`` runs parallel to the envelope's.

    ``reply`` and ``scope`` are those of the verdict that explains ``outcome`` best. ``effects`` holds one verdict for
    each different effect on mailbox, connection or sender, the strongest first.
    """

    recipients: tuple[Verdict, ...]
    outcome: AttemptOutcome
    scope: Scope
    reply: Reply | None
    effects: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class SignInVerdict:
    """What a refused sign-in means.

    ``probes``: seconds before each sign-in that may be tried unasked, the last one repeats; empty: never.
    """

    reason: str
    cause: str
    cure: str
    probes: tuple[float, ...]
    kind: SignInKind = SignInKind.OTHER


def judge(reply: Reply, rules: Sequence[Row] = CATALOGUE) -> Verdict:
    """Judge one reply by the first row that fits; a positive one is ``sent`` (of interest at the dot only).

    A wait that a transient reply names goes before the row's own. ``rules`` must end in rows that fit everything, as
    the catalogue does: an operator's rows are put before it.
    """
    if reply.is_positive:
        return Verdict(Outcome.SENT, Scope.MESSAGE, reply)
    words = without_diagnostics(reply.text)
    row = _first(reply, words, rules)
    if row.looks_inside and (inner := _inside(words)) is not None:
        return replace(judge(inner, rules), reply=reply)
    waits = row.outcome is Outcome.DEFERRED or row.effect is Effect.RECONNECT
    named = named_wait(words) if waits and reply.is_transient else None
    return Verdict(
        outcome=row.outcome,
        scope=row.scope,
        reply=reply,
        effect=row.effect,
        retry_after=row.wait if named is None else named,
        family=row.family,
        cause=row.cause,
        cure=row.cure,
        alert=_name_in(words) if row.alerts else None,
    )


def judge_transaction(replies: Replies, recipients: int, rules: Sequence[Row] = CATALOGUE) -> Judged:
    """Judge everything that one transaction with so many recipients was answered.

    A refused MAIL concerns all recipients, a refused RCPT its own, the reply to DATA or to the dot those that had been
    accepted. A refusal stands however the transaction ended: it is a fact of its recipient. Without the dot the rest
    was not taken (RFC 5321 §4.1.1.10) and is kept; with the dot and without a verdict on it, unknown (RFC 1047).
    """
    if replies.mail is not None and not replies.mail.is_positive:
        return _sum_up((_for_all(judge(replies.mail, rules)),) * recipients)
    told = [reply if reply is not None and not reply.is_positive else None for reply in replies.recipients[:recipients]]
    told += [None] * (recipients - len(told))
    rest = _rest(replies, accepted=told.count(None), rules=rules)
    return _sum_up(tuple(rest if reply is None else judge(reply, rules) for reply in told))


def judge_lost(recipients: int, *, was_marked: bool) -> Judged:
    """Judge an attempt of which nothing is known but whether its hand-over mark was committed."""
    return _sum_up((_UNKNOWN if was_marked else _NOT_TAKEN,) * recipients)


def summed_up(recipients: Iterable[Verdict]) -> Judged:
    """Return what a transaction came to whose recipients were judged so, in the envelope's order."""
    return _sum_up(tuple(recipients))


def judge_sign_in(
    code: str, reply: Reply | None = None, *, by_token: bool, rules: Sequence[Row] = CATALOGUE
) -> SignInVerdict:
    """Judge a refused sign-in: by the server's ``reply``, or by the token endpoint's ``code`` (``AADSTS7000215``).

    ``code`` becomes the reason as it is. ``by_token`` tells an access token from a password: the same ``535 5.7.3``
    has another cause for each, and a password is not shown again unasked where it may be the wrong one.
    """
    if reply is None:
        explanation = explain(code)
        is_account = explanation.kind in (SignInKind.PASSWORD, SignInKind.LOCKED)
        asked_again = () if is_account else _ENDPOINT_PROBES
        return SignInVerdict(code, explanation.cause, explanation.cure, asked_again, explanation.kind)
    words = without_diagnostics(reply.text)
    row = _first(reply, words, rules, by_token=by_token)
    if row.looks_inside and (inner := _inside(words)) is not None:
        return judge_sign_in(code, inner, by_token=by_token, rules=rules)
    kind = row.sign_in or SignInKind.OTHER
    probes = (_TOKEN_PROBES if by_token else _PASSWORD_PROBES).get(kind, ())
    return SignInVerdict(code, row.cause or f"The server refused the sign-in ({code}).", row.cure or "", probes, kind)


_NOT_TAKEN: Final = Verdict(Outcome.KEPT, Scope.SESSION, None)
_UNKNOWN: Final = Verdict(
    Outcome.UNKNOWN,
    Scope.SESSION,
    None,
    cause="The connection ended after the hand-over and before the answer: the server may have taken the message.",
    cure="Look for its Message-ID in the message trace (Exchange admin center > Mail flow), then say by resolve "
    "whether it was sent.",
)


def _first(reply: Reply, words: str, rules: Iterable[Row], *, by_token: bool | None = None) -> Row:
    for row in rules:
        if row.fits(reply, words, by_token):
            return row
    raise LookupError(f"no row fits {reply.code}: the rules lack their defaults")


def _inside(words: str) -> Reply | None:
    """Return the reply to the sign-in that a refused MAIL repeats in its words."""
    found = _INSIDE.search(words)
    return Reply(int(found[1]), found[2], found[3], Phase.AUTH) if found else None


def _name_in(words: str) -> str:
    found = _EXCEPTION.search(words)
    return found[1].rstrip(".") if found else words[:80]


def _rest(replies: Replies, *, accepted: int, rules: Sequence[Row]) -> Verdict:
    """Return the verdict on the recipients whose RCPT was not refused."""
    if replies.data is not None and not replies.data.is_positive:
        return _shared(judge(replies.data, rules), accepted)
    dot = replies.dot
    if dot is None:
        return _UNKNOWN if replies.fate is Fate.UNANSWERED else _NOT_TAKEN
    if dot.code // 100 in (2, 4, 5):
        return _shared(judge(dot, rules), accepted)
    # Neither taken nor refused (RFC 5321 §4.2.1): nothing proves that the message was not taken.
    return replace(_UNKNOWN, reply=dot)


def _for_all(verdict: Verdict) -> Verdict:
    """Return the verdict as the message's matter: MAIL names no recipient."""
    return replace(verdict, scope=Scope.MESSAGE) if verdict.scope is Scope.RECIPIENT else verdict


def _shared(verdict: Verdict, accepted: int) -> Verdict:
    """Return the verdict of one reply on several recipients: which of them is meant, it does not say."""
    return _for_all(verdict) if accepted > 1 else verdict


def _sum_up(verdicts: tuple[Verdict, ...]) -> Judged:
    outcome, weight = _outcome_of({verdict.outcome for verdict in verdicts})
    # Words explain better than silence, and of several replies the last.
    telling = verdicts[0] if verdicts else _NOT_TAKEN
    if len(verdicts) > 1:
        telling = max(
            verdicts,
            key=lambda each: (each.outcome is weight, _PHASES.index(each.reply.phase) if each.reply else -1),
        )
    return Judged(verdicts, outcome, telling.scope, telling.reply, _effects_of(verdicts))


def _outcome_of(found: set[Outcome]) -> tuple[AttemptOutcome, Outcome]:
    """Return how the attempt ended, and which of its recipients' outcomes explains that."""
    if Outcome.UNKNOWN in found:
        return AttemptOutcome.UNKNOWN, Outcome.UNKNOWN
    if found == {Outcome.SENT}:
        return AttemptOutcome.SENT, Outcome.SENT
    gravest = next((each for each in (Outcome.REJECTED, Outcome.DEFERRED, Outcome.KEPT) if each in found), Outcome.KEPT)
    if Outcome.SENT in found:
        return AttemptOutcome.PARTLY_SENT, gravest
    # Somebody was told "later": the message keeps to the schedule, though others of its recipients need not.
    if Outcome.DEFERRED in found:
        return AttemptOutcome.DEFERRED, Outcome.DEFERRED
    # Nobody's fault here: the rest is due again at once and no try is counted, also beside a refused recipient.
    if Outcome.KEPT in found or not found:
        return AttemptOutcome.ABORTED, Outcome.KEPT
    return AttemptOutcome.REJECTED, Outcome.REJECTED


def _effects_of(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    different: dict[tuple[Effect, Scope, str | None], Verdict] = {}
    for verdict in verdicts:
        if verdict.effect is not Effect.NONE:
            different.setdefault((verdict.effect, verdict.scope, verdict.family), verdict)
    return tuple(sorted(different.values(), key=lambda each: _STRENGTH.index(each.effect)))
