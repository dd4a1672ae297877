"""Refuses what two servers in a row could read as two different requests, where the HTTP parser lets it pass."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from app.web.problems import Problem


def check_framing(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Raise ``Problem`` 400 ``malformed-request`` for a wrong Host or Transfer-Encoding; the connection then ends.

    One Host, and from HTTP/1.1 on it must be there (RFC 9112 §3.2). A body is chunked and nothing else, and never under
    HTTP/1.0 (RFC 9112 §6.1). Conflicting lengths and broken chunks the parser refuses itself.
    """
    coding = headers.get(b"transfer-encoding")
    is_old = scope["http_version"] == "1.0"
    if coding is not None and (is_old or coding.strip().lower() != b"chunked"):
        raise _malformed("the only Transfer-Encoding is chunked, in HTTP/1.1")
    if b"host" not in headers and not is_old:
        raise _malformed("the Host header is missing")
    # A name that stands twice is seen by the count, and only then looked for.
    if len(headers) != len(scope["headers"]) and sum(name == b"host" for name, _ in scope["headers"]) > 1:
        raise _malformed("the Host header stands twice")


def _malformed(detail: str) -> Problem:
    return Problem("malformed-request", detail, headers={"connection": "close"})
