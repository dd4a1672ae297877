"""Reads what a token endpoint answered: a token, a trouble that passes, or a refusal that a person must mend.

Pure. An answer that is neither a token nor a clear OAuth error (a proxy's page, half a document, a redirect) counts as
a trouble: a mailbox is parked only on a plain refusal. No secret that was sent survives into a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from app.mail.aadsts import TRANSIENT

# Continuous access evaluation gives the longest tokens, 28 hours; a longer promise is not believed.
_LONGEST_LIFE = 28 * 3600.0

# What may stand in an Authorization value (RFC 6750 §2.1) and in the SASL string, where \x01 ends it.
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")
_ERROR_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_AADSTS = re.compile(r"AADSTS(\d{4,9})")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]+")


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, its life in seconds, and the refresh token that replaces the one used, if there is one."""

    value: SecretStr
    life: float
    refresh_token: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Busy:
    """A trouble that passes: ``result`` is a bounded word for metrics, ``text`` a sentence for people.

    Words: ``throttled server-error unreachable timeout tls malformed``. ``retry_after`` is in seconds.
    """

    result: str
    text: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that a person must mend, with everything a support case needs.

    ``code`` is the word shown as the reason: ``AADSTS7000215``, or the OAuth error where there is no such code.
    """

    code: str
    text: str
    error: str | None = None
    error_codes: tuple[int, ...] = ()
    trace_id: str | None = None
    correlation_id: str | None = None


Answer = Issued | Busy | Refusal


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, sent: Collection[str], now: datetime
) -> Answer:
    """Judge a complete HTTP answer; ``headers`` by lower-case name, ``sent`` the secrets of the request."""
    if status == 429:
        return Busy("throttled", "the token endpoint asks for fewer requests (429)", retry_after(headers, now))
    if status >= 500 or status == 408:
        return Busy("server-error", f"the token endpoint is in trouble ({status})", retry_after(headers, now))
    if 300 <= status < 400:
        return Busy("malformed", f"the token endpoint redirects ({status}); redirects are not followed")
    document = _document(body)
    if document is None:
        kind = _clean(headers.get("content-type", "no content type"), ())[:80]
        return Busy("malformed", f"the answer ({status}, {kind}) is no token answer: a proxy, or a wrong authority")
    if status == 200:
        return _issued(document)
    return _refusal(status, document, sent, retry_after(headers, now))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the wait asked for (RFC 9110 §10.2.3) in seconds, or None; a date is measured by the server's own."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _date(value)
    return max(0.0, (until - (_date(headers.get("date", "")) or now)).total_seconds()) if until else None


def _date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year or an hour of twenty digits
        return None
    return parsed if parsed.tzinfo is not None else None


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _issued(document: dict[str, Any]) -> Answer:
    value = document.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        return Busy("malformed", "the token endpoint answered 200 without a usable token")
    if str(document.get("token_type", "Bearer")).lower() != "bearer":
        return Busy("malformed", "the token endpoint issued a token that is not a bearer token")
    life = _seconds(document.get("expires_in"))
    if life is None or life < 1:
        return Busy("malformed", "the token endpoint issued a token without a life")
    refresh = document.get("refresh_token")
    rotated = SecretStr(refresh) if isinstance(refresh, str) and _TOKEN.fullmatch(refresh) else None
    return Issued(SecretStr(value), min(life, _LONGEST_LIFE), rotated)


def _seconds(value: object) -> float | None:
    """Return ``expires_in`` as a number; some endpoints write it as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if seconds == seconds else None  # NaN is not itself


def _refusal(status: int, document: dict[str, Any], sent: Collection[str], wait: float | None) -> Answer:
    error = document.get("error")
    if not isinstance(error, str) or not _ERROR_WORD.fullmatch(error):
        return Busy("malformed", f"the token endpoint answered {status} without an OAuth error")
    described = document.get("error_description")
    description = _clean(described if isinstance(described, str) else "", sent)
    codes = _codes(document.get("error_codes"), description)
    text = description.partition(" Trace ID:")[0].strip()[:500] or f"the token endpoint answered {error}"
    if error in {"temporarily_unavailable", "server_error"} or not TRANSIENT.isdisjoint(codes):
        return Busy("server-error", text, wait)
    return Refusal(
        code=f"AADSTS{codes[0]}" if codes else error,
        text=text,
        error=error,
        error_codes=codes,
        trace_id=_identifier(document.get("trace_id"), sent),
        correlation_id=_identifier(document.get("correlation_id"), sent),
    )


def _codes(listed: object, description: str) -> tuple[int, ...]:
    """Return every code, that of the description first: it is the one people search for."""
    named = [int(code) for code in _AADSTS.findall(description)]
    if isinstance(listed, list):
        named += [code for code in listed if isinstance(code, int) and not isinstance(code, bool)]
    return tuple(dict.fromkeys(code for code in named if 0 < code < 1_000_000_000))


def _identifier(value: object, sent: Collection[str]) -> str | None:
    return _clean(value, sent)[:64] or None if isinstance(value, str) else None


def _clean(text: str, sent: Collection[str]) -> str:
    """Return ``text`` on one line, printable, without any secret that was sent, even if the endpoint echoed it."""
    for secret in sorted(filter(None, sent), key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(form, "[secret]")
    return " ".join(_UNPRINTABLE.sub(" ", text).split())
