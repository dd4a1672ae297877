"""Writes the log: one JSON object a line on the given stream, keys ``ts level event`` first.

No secret leaves through it: whatever looks like a key, a token or a password is replaced, in fields and in the text of
exceptions alike; so is every e-mail address, in the form the operator chose. JSON takes the line breaks out, so nobody
can forge a line. Other libraries' records (stdlib ``logging``) come out in the same form.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog

Addresses = Literal["masked", "full", "hash"]

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PLAIN: Final = (int, float, bool, type(None))
_HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 12  # no credential is shorter; spares the search through the many short values

_encode: Final = json.JSONEncoder(default=str).encode

# An address within a text: the local part up to the nearest delimiter, a domain or an address literal.
_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\",;:@'\\]{1,64}@(\[[0-9A-Za-z.:]+\]|[\w.-]+)")
_SECRET: Final = re.compile(
    r"\bpr_[a-z]+_[0-9A-Za-z_]+"  # our own keys
    r"|\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}"  # credentials of HTTP
    r"|\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"  # signed tokens (RFC 7519)
    r"|\bAUTH\s+(?:LOGIN|PLAIN|XOAUTH2)\s+\S+"  # credentials of SMTP
    r"|(?<=://)[^\s/:@]*:[^\s/@]*(?=@)",  # user and password of an address of a database or a proxy
    re.IGNORECASE,
)
# Fields that hold words of the configuration and ids of our own making, never what somebody else wrote.
_OWN_WORDS: Final = frozenset({"room", "method", "route", "tenant", "key_id", "message_id", "mailbox"})
_SECRET_FIELD: Final = re.compile(
    r"password|passwd|secret|authorization|assertion|(?:^|_)token$|^api_?key$", re.IGNORECASE
)


def mask_address(address: str, how: Addresses, key: bytes) -> str:
    """Return an address as the log may show it.

    ``masked``: the first letter, the domain and a keyed digest (``a***@example.com#1f3a9c0d``), so that lines about
    one person can be found without naming anybody; ``hash``: the digest alone; ``full``: as it is.
    """
    if how == "full":
        return address
    digest = hmac.digest(key, address.lower().encode("utf-8", "surrogatepass"), "sha256").hex()
    if how == "hash":
        return f"address#{digest[:16]}"
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}#{digest[:8]}"


def redact(text: str) -> str:
    """Return a text without what looks like a credential."""
    low = text.lower()
    # Looking for these words first spares most texts the search (and one by one, as that is the fastest way).
    if "pr_" in low or "bearer" in low or "basic" in low or "eyj" in low or "auth" in low or "://" in low:
        return _SECRET.sub(_HIDDEN, text)
    return text


@lru_cache(maxsize=512)
def _is_secret_field(name: str) -> bool:
    return _SECRET_FIELD.search(name) is not None


class Lines:
    """Makes a line of an event: the last and only of structlog's processors, since each more of them costs time."""

    def __init__(self, addresses: Addresses, key: bytes) -> None:
        self._addresses = addresses
        self._key = key

    def __call__(self, _logger: object, level: str, event: structlog.typing.EventDict) -> str:
        """Return the line of an event logged now at ``level``."""
        line: dict[str, Any] = {
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": "error" if level == "exception" else level,
            "event": self.scrub(event.pop("event", "")),
        }
        if event.get("exc_info"):
            event = structlog.processors.format_exc_info(_logger, level, event)
        for name, value in event.items():
            if name in _OWN_WORDS:
                line[name] = value
            else:
                line[name] = _HIDDEN if _is_secret_field(name) else self.scrub(value)
        return _encode(line)

    def scrub(self, value: Any) -> Any:
        """Return a value without secrets and as to addresses as chosen; what JSON does not know becomes text first."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, Mapping):
            return {str(k): _HIDDEN if _is_secret_field(str(k)) else self.scrub(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.scrub(each) for each in value]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        if len(text) >= _SHORTEST_SECRET:
            text = redact(text)
        if "@" not in text or self._addresses == "full":
            return text
        return _ADDRESS.sub(lambda found: mask_address(found.group(), self._addresses, self._key), text)


def configure(
    level: str = "info",
    addresses: Addresses = "masked",
    stream: TextIO | None = None,
    key: bytes | None = None,
) -> None:
    """Set the log up for the whole process: ``level`` and above, to ``stream`` (default: stdout).

    ``key`` keys the digests of addresses; without one, digests of two runs do not match.
    """
    stream = stream or sys.stdout
    threshold = _LEVELS[level]
    lines = Lines(addresses, key or os.urandom(32))
    structlog.configure(
        processors=[lines],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    foreign = logging.StreamHandler(stream)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, lines],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [foreign]
    # Libraries speak of their own inner life; only what went wrong concerns an operator, unless he debugs.
    root.setLevel(threshold if threshold <= logging.DEBUG else max(threshold, logging.WARNING))
    # What a client sent wrong in a multipart body is told to the client; here it would only repeat its input.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry the name of the room that speaks."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return logger
