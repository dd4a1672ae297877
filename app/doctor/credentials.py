"""Judges what a mailbox signs in with: the access token, the sign-in itself, and the clock both rely on. Pure.

A token is read for its audience, its rights and its end; nothing of it is ever shown but those.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from app.doctor.check import Check, Status, filled, skipped
from app.mail.replies import CATALOGUE
from app.mail.rule import Row
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.mail.verdict import judge_sign_in
from app.settings import MailboxPlan
from app.signin.methods import RefreshToken, SignIn

# How the audience of Exchange Online is written where it is not a URL (its application id in every directory).
_EXCHANGE_ID: Final = "00000002-0000-0ff1-ce00-000000000000"
_GRAPH: Final = ("graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
# In the worldwide cloud both names stand for Exchange Online.
_WORLDWIDE: Final = frozenset({"outlook.office365.com", "outlook.office.com"})
_APP_RIGHT: Final = "SMTP.SendAsApp"
_USER_RIGHT: Final = "SMTP.Send"
_LATE: Final = timedelta(minutes=5)
_DATE: Final = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}")


def claims_of(token: str) -> Mapping[str, Any] | None:
    """Return the claims of a JSON Web Token (RFC 7519 §3), unverified; None where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        told = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def judge_token(token: str, sign_in: SignIn, plan: MailboxPlan, now: datetime) -> Check:
    """Judge an access token that was issued."""
    tried = _tried(plan)
    claims = claims_of(token)
    if claims is None:
        means = "A token was issued; it cannot be read, so whether it is the right one only the sign-in can tell."
        return Check("token", Status.OK, tried, "a token that is not a JWT", means, "", plan.name)
    audience, rights = str(claims.get("aud", "")), _rights(claims)
    got = f"audience {audience or 'not told'}; {_rights_words(claims)}; {_end_words(claims, now)}"
    status, means, do = _judged(audience, rights, sign_in)
    return Check("token", status, tried, got, means, do, plan.name)


def _tried(plan: MailboxPlan) -> str:
    return f"ask for an access token ({plan.method}) and read it"


def _judged(audience: str, rights: frozenset[str], sign_in: SignIn) -> tuple[Status, str, str]:
    is_graph = any(name in audience for name in _GRAPH)
    if is_graph or not _is_exchange(audience, sign_in.endpoint.scope):
        service = "Microsoft Graph" if is_graph else "another service"
        means = f"It is a token for {service}, which Exchange does not take for SMTP (535 5.7.3)."
        do = f"Take scope out of auth, so that the cloud's own holds; in the worldwide cloud: {_right_scope(sign_in)}"
        return Status.FAIL, means, do
    if isinstance(sign_in.method, RefreshToken):
        if _USER_RIGHT in rights:
            return Status.OK, "The user has granted what is needed.", ""
        means = f"The user's consent lacks {_USER_RIGHT}, so Exchange will refuse the sign-in (535 5.7.3)."
        do = f"Entra > API permissions of the app: Microsoft Graph, Delegated, {_USER_RIGHT}; then sign in anew."
        return Status.FAIL, means, do
    if _APP_RIGHT in rights:
        means = f"It has {_APP_RIGHT}: the classic way. Exchange also wants FullAccess on the mailbox for the app."
        return Status.OK, means, ""
    means = (
        f"It has no right {_APP_RIGHT}. That is as it should be under App RBAC, where Exchange keeps the right; on the "
        "classic way the permission or the admin consent is missing."
    )
    return Status.OK, means, "If the sign-in is refused with 535 5.7.3: postroom setup exchange"


def _is_exchange(audience: str, scope: str) -> bool:
    if audience == _EXCHANGE_ID:
        return True
    host = _host(audience)
    wanted = {_host(name.rpartition("/")[0]) for name in scope.split() if "/" in name}
    return host in wanted or (host in _WORLDWIDE and not _WORLDWIDE.isdisjoint(wanted))


def _host(url: str) -> str:
    return url.partition("://")[2].strip("/").lower()


def _right_scope(sign_in: SignIn) -> str:
    delegated = isinstance(sign_in.method, RefreshToken)
    return (
        "https://outlook.office.com/SMTP.Send offline_access" if delegated else "https://outlook.office365.com/.default"
    )


def _rights(claims: Mapping[str, Any]) -> frozenset[str]:
    roles, scopes = claims.get("roles"), claims.get("scp")
    found = [str(role) for role in roles] if isinstance(roles, list) else []
    return frozenset(found + (scopes.split() if isinstance(scopes, str) else []))


def _rights_words(claims: Mapping[str, Any]) -> str:
    rights = ", ".join(sorted(_rights(claims)))
    if "scp" in claims:
        return f"scp {rights}"
    return f"roles {rights}" if rights else "no roles"


def _end_words(claims: Mapping[str, Any], now: datetime) -> str:
    end = claims.get("exp")
    if not isinstance(end, int | float):
        return "no end told"
    minutes = (end - now.timestamp()) / 60
    return f"ends in {minutes:.0f} min" if minutes >= 0 else f"ended {-minutes:.0f} min ago by this machine's clock"


def judge_no_token(problem: ConnectTrouble | SignInRefused, plan: MailboxPlan) -> Check:
    """Judge that no token was to be had: refused, or the endpoint cannot be used."""
    tried = _tried(plan)
    if isinstance(problem, SignInRefused):
        verdict = judge_sign_in(problem.code, by_token=True)
        do = filled(verdict.cure, names_of(plan))
        return Check("token", Status.FAIL, tried, problem.text, verdict.cause, do, plan.name)
    host = plan.sign_in.endpoint.authority if plan.sign_in is not None else "the token endpoint"
    means = "The token endpoint cannot be used; nothing is known about the credential."
    do = f"Allow outgoing HTTPS to {host}; check authority and ca_file of [connections.{plan.connection_name}]."
    return Check("token", Status.FAIL, tried, problem.text, means, do, plan.name)


def names_of(plan: MailboxPlan) -> dict[str, str | None]:
    """Return the names that a cure may leave open."""
    method = plan.sign_in.method if plan.sign_in is not None else None
    client_id = getattr(method, "client_id", None)
    directory = getattr(method, "directory", None)
    return {"MAILBOX": str(plan.address), "APP": client_id, "CLIENT_ID": client_id, "DIRECTORY": directory}


def judge_auth(
    problem: ConnectTrouble | SignInRefused | None,
    seconds: float | None,
    plan: MailboxPlan,
    username: str,
    rules: Sequence[Row] = CATALOGUE,
) -> Check:
    """Judge a sign-in as ``username`` that was tried; ``problem`` None: it succeeded, within ``seconds``."""
    by_token = plan.sign_in is not None
    way = "XOAUTH2" if by_token else "LOGIN or PLAIN"
    tried = f"sign in as {username} by AUTH {way}"
    if problem is None:
        took = f"signed in after {seconds:.1f} s" if seconds is not None else "signed in"
        means = "The server takes the credential. Whom it may send as shows at the end of a message only (--send-to)."
        return Check("auth", Status.OK, tried, took, means, "", plan.name)
    if isinstance(problem, SignInRefused):
        verdict = judge_sign_in(problem.code, problem.reply, by_token=by_token, rules=rules)
        do = filled(verdict.cure, names_of(plan))
        return Check("auth", Status.FAIL, tried, problem.text, verdict.cause, do, plan.name)
    if problem.reply is not None and problem.reply.is_transient:
        means = "The server puts it off; that says nothing about the credential."
        return Check("auth", Status.WARN, tried, problem.text, means, "Try again in a few minutes.", plan.name)
    means = "No answer that says yes or no; nothing is known about the credential."
    return Check("auth", Status.FAIL, tried, problem.text, means, "Try again; look at the checks before.", plan.name)


def date_in(greeting: str) -> datetime | None:
    """Return the time that a banner tells, as Exchange's does."""
    found = _DATE.search(greeting)
    return _instant(found[0]) if found else None


def date_of(header: str) -> datetime | None:
    """Return the time of a Date header (RFC 9110 §5.6.7); None where it cannot be read."""
    return _instant(header)


def _instant(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text)
    except ValueError:
        return None
    return read.astimezone(UTC) if read.tzinfo is not None else read.replace(tzinfo=UTC)


def judge_clock(theirs: datetime | None, source: str, now: datetime, plan: MailboxPlan) -> Check:
    """Judge this machine's clock by another one; ``source`` says whose."""
    if theirs is None:
        return skipped("clock", plan.name, "neither the server's greeting nor a token endpoint tells the time")
    tried = f"compare this machine's clock with {source}"
    off = now - theirs
    seconds = abs(off.total_seconds())
    if abs(off) <= _LATE:
        return Check("clock", Status.OK, tried, f"{seconds:.0f} s apart", "Near enough.", "", plan.name)
    got = f"ours is {seconds / 60:.0f} min {'ahead' if off > timedelta(0) else 'behind'}"
    means = "Tokens and certificates are judged by time: sign-ins may be refused (AADSTS700024), Date lines are wrong."
    return Check("clock", Status.WARN, tried, got, means, "Set the clock: timedatectl set-ntp true", plan.name)
