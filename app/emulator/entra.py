"""What Entra says when it refuses a token, and the refusals and troubles that can be ordered from it.

The shape of an error and its codes are Microsoft's; texts are shortened to what a mailer's log needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

# Code: OAuth error (RFC 6749 §5.2), HTTP status, text. invalid_client is 401, everything else 400.
_KNOWN: dict[int, tuple[str, str]] = {
    50027: ("invalid_request", "JWT token is invalid or malformed."),
    50034: ("invalid_grant", "The user account does not exist in the directory."),
    50053: ("invalid_grant", "The account is locked."),
    50057: ("invalid_grant", "The user account is disabled."),
    50076: ("interaction_required", "The user must use multi-factor authentication to access the resource."),
    50173: ("invalid_grant", "The provided grant has expired due to it being revoked."),
    50196: ("invalid_grant", "The server terminated an operation because it encountered a client request loop."),
    53003: ("invalid_grant", "Access has been blocked by Conditional Access policies."),
    65001: ("invalid_grant", "The user or administrator has not consented to use the application."),
    70000: ("invalid_grant", "The provided value for the input parameter 'refresh_token' is not valid."),
    70003: ("unsupported_grant_type", "The app requested an unsupported grant type."),
    70008: ("invalid_grant", "The refresh token has expired due to inactivity."),
    70011: ("invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
    90002: ("invalid_request", "Tenant not found. Check to make sure you have the correct tenant ID."),
    90033: ("temporarily_unavailable", "A transient error has occurred. Please try again."),
    500011: ("invalid_resource", "The resource principal was not found in the tenant."),
    530035: ("invalid_grant", "Access has been blocked by security defaults."),
    700016: ("unauthorized_client", "Application was not found in the directory."),
    700021: ("invalid_client", "Client assertion application identifier doesn't match 'client_id' parameter."),
    700022: ("invalid_scope", "The scope contains more than one resource."),
    700023: ("invalid_client", "Client assertion audience claim does not match Realm issuer."),
    700024: ("invalid_client", "Client assertion is not within its valid time range."),
    700027: ("invalid_client", "Client assertion failed signature validation."),
    700082: ("invalid_grant", "The refresh token has expired due to inactivity of 90 days."),
    900144: ("invalid_request", "The request body must contain all required parameters."),
    1002012: ("invalid_scope", "The scope of a client credential request must end in /.default."),
    7000112: ("unauthorized_client", "Application is disabled."),
    7000215: (
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
        "not the client secret ID.",
    ),
    7000218: ("invalid_client", "The request body must contain 'client_assertion' or 'client_secret'."),
    7000222: ("invalid_client", "The provided client secret keys are expired."),
}


class EntraRefusal(Exception):
    """A refusal by its AADSTS code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"AADSTS{code}")
        self.code = code


def error_document(code: int, now: datetime) -> tuple[int, dict[str, Any]]:
    """Return HTTP status and body of a refusal; a code that is not known here is an ``invalid_request``."""
    error, text = _KNOWN.get(code, ("invalid_request", "The request was refused."))
    trace, correlation = str(uuid4()), str(uuid4())
    stamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
    description = f"AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
    return 401 if error == "invalid_client" else 400, {
        "error": error,
        "error_description": description,
        "error_codes": [code],
        "timestamp": stamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }


class TokenAction(StrEnum):
    """What the token endpoint does besides refusing."""

    STALL = "stall"  # for some seconds, or until the client leaves; then it answers as usual
    CLOSE = "close"  # ends the connection without an answer
    HALF_ANSWER = "half-answer"  # half of the body, then the end
    PROXY_PAGE = "proxy-page"  # 200 and a page in HTML


@dataclass(slots=True, eq=False, kw_only=True)
class TokenFault:
    """One thing that goes wrong at the token endpoint.

    ``aadsts``: a refusal by its number. ``status``: 429 or 5xx, with ``retry_after`` seconds. ``action`` with
    ``seconds`` for a stall. ``life``: no trouble, but a token that lives for so many seconds. Whom: ``client_id``,
    ``directory``; when: ``attempt`` (the nth request that matches, from 1), ``times`` (how often at most).
    """

    aadsts: int | None = None
    status: int | None = None
    retry_after: int | None = None
    action: TokenAction | None = None
    seconds: float | None = None
    life: float | None = None
    client_id: str | None = None
    directory: str | None = None
    attempt: int | None = None
    times: int | None = None
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.action = TokenAction(self.action) if self.action is not None else None
        if [self.aadsts, self.status, self.action, self.life].count(None) != 3:
            raise ValueError("a token fault needs exactly one of aadsts, status, action and life")
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError("a token fault's status is from 400 to 599")
        for number in (self.aadsts, self.life, self.attempt, self.times):
            if number is not None and not 1 <= number < 1e9:
                raise ValueError("a token fault counts aadsts, life, attempt and times from 1")
        if self.seconds is not None and not 0 <= self.seconds < float("inf"):
            raise ValueError("a token fault takes seconds from 0")

    def concerns(self, client_id: str, directory: str) -> bool:
        """Whether every condition but the counts holds."""
        return self.client_id in (None, client_id) and self.directory in (None, directory)


class TokenFaultBook:
    """The faults of the token endpoint on order; the first that strikes wins."""

    def __init__(self) -> None:
        self._faults: list[TokenFault] = []

    def add(self, fault: TokenFault) -> TokenFault:
        """Order one more; return it."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Order nothing any more."""
        self._faults.clear()

    def take(self, client_id: str, directory: str) -> TokenFault | None:
        """Return the fault that strikes at this request."""
        for fault in self._faults:
            if not fault.concerns(client_id, directory):
                continue
            fault.seen += 1
            if fault.attempt not in (None, fault.seen) or (fault.times is not None and fault.fired >= fault.times):
                continue
            fault.fired += 1
            return fault
        return None

    def __iter__(self) -> Iterator[TokenFault]:
        return iter(list(self._faults))
