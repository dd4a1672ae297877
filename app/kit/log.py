"""Writes the log: one JSON object a line on the given stream, keys ``ts level event`` first.

No secret leaves through it: whatever looks like a key, a token or a password is replaced, in fields and in the text of
exceptions alike; so is every e-mail address, in the form the operator chose. JSON takes the line breaks out, so nobody
can forge a line. Other libraries' records (stdlib ``logging``) come out in the same form.

What one turn of the event loop has to say below ``warning`` goes out in one write when the turn ends. A warning, a line
from another thread and the end of the process write at once all that waits; only a killed process loses its last turn.
"""

from __future__ import annotations

import asyncio
import atexit
import hmac
import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json

Addresses = Literal["masked", "full", "hash"]

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PLAIN: Final = (int, float, bool, type(None))
_HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 12  # no credential is shorter; spares the search through the many short values

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


@lru_cache(maxsize=2)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _stamp(nanoseconds: int) -> str:
    """Return an instant since 1970 in RFC 3339, UTC, to the millisecond; each second is written out once."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1_000_000:03}Z"


def _encode(line: dict[str, Any]) -> str:
    """Return a line's JSON, in ASCII; half a surrogate pair, which only the standard library writes, as an escape."""
    try:
        return to_json(line, ensure_ascii=True).decode()
    except (PydanticSerializationError, UnicodeEncodeError):
        return json.dumps(line, separators=(",", ":"))


class Lines:
    """Makes a line of an event: the last and only of structlog's processors, since each more of them costs time."""

    def __init__(self, addresses: Addresses, key: bytes) -> None:
        self._addresses = addresses
        self._key = key

    def __call__(self, _logger: object, level: str, event: structlog.typing.EventDict) -> str:
        """Return the line of an event logged now at ``level``."""
        line: dict[str, Any] = {
            "ts": _stamp(time.time_ns()),
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
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, str):
            return self._text(value)
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


class Output:
    """Writes lines to a stream, as the module promises; also a stream itself, for other libraries' records.

    A write lets go of the interpreter, and getting it back from the store's thread costs more than making the line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Output {len(self._waiting)} lines waiting>"

    def write(self, text: str) -> None:
        """Keep text for the next flush."""
        self._waiting.append(text)

    def flush(self) -> None:
        """Write what waits."""
        self._loop = None
        with self._lock:
            texts = []
            while self._waiting:
                texts.append(self._waiting.popleft())
            if texts:
                self._stream.write("".join(texts))
                self._stream.flush()

    def soon(self, line: str) -> None:
        """Write a line at the end of this turn of the loop; at once where none runs here."""
        self._waiting.append(line + "\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        # A loop that ended before its turn did never flushes; another one is asked anew.
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self.flush)

    def now(self, line: str) -> None:
        """Write a line behind what waits."""
        self._waiting.append(line + "\n")
        self.flush()

    # What a line's level decides; structlog calls these by name.
    debug = info = soon
    warning = error = critical = exception = now


def _voice(threshold: int, lines: Lines) -> type[structlog.BoundLoggerBase]:
    """Return the class of loggers that speak from a level on, in such lines.

    structlog's own passes an event through a chain and copies it four times on the way; where there is one processor,
    there is no chain (measured: 2 of 10 µs a line).
    """

    def saying(level: str) -> Callable[..., None]:
        def say(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
            getattr(self._logger, level)(lines(self._logger, level, {**self._context, "event": event, **fields}))

        def trace(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
            say(self, event, **{"exc_info": True, **fields})

        return trace if level == "exception" else say

    def silence(_self: structlog.BoundLoggerBase, _event: str, **_fields: Any) -> None:
        """Say nothing."""

    levels = {**_LEVELS, "exception": _LEVELS["error"]}
    methods = {name: saying(name) if level >= threshold else silence for name, level in levels.items()}
    return type("Voice", (structlog.BoundLoggerBase,), methods)


def configure(
    level: str = "info",
    addresses: Addresses = "masked",
    stream: TextIO | None = None,
    key: bytes | None = None,
) -> None:
    """Set the log up for the whole process: ``level`` and above, to ``stream`` (default: stdout).

    ``key`` keys the digests of addresses; without one, digests of two runs do not match.
    """
    output = Output(stream or sys.stdout)
    atexit.register(_flush_last, output)
    threshold = _LEVELS[level]
    lines = Lines(addresses, key or os.urandom(32))
    structlog.configure(
        processors=[lines],
        wrapper_class=_voice(threshold, lines),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    foreign = logging.StreamHandler(output)
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


def _flush_last(output: Output) -> None:
    # Whoever reads may have gone, and a test's stream may be closed.
    with suppress(OSError, ValueError):
        output.flush()


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry the name of the room that speaks."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return logger
