"""uvicorn's HTTP protocol with what it lacks.

Bounds on the head of a request, in octets and in time, so that a client may neither fill the memory nor keep a
connection for ever: the head is parsed before any application sees the request (the body is the guard's matter). And
answers whose head and body leave in one write: uvicorn makes two of them: two system calls, two packets, two wake-ups
of the client.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Request line and headers together.
HEAD_LIMIT: Final = 64 * 1024
#: Until a head is complete, from the first octet of it, or from the connection on.
HEAD_SECONDS: Final = 30.0


class JoinedWrites:
    """A transport that sends a piece together with the next one, or at the end of the loop's turn if none comes.

    Everything but writing and closing is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._transport.is_closing()

    def write(self, octets: bytes) -> None:
        """Send a piece behind what is held, or hold it: the head of an answer, as a rule."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + octets)
        elif octets:
            self._held = octets
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def close(self) -> None:
        """Close behind what is held."""
        self.flush()
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request's head is over a limit: a plain 431 (RFC 6585 §5) or 408 (RFC 9110 §15.5.9)."""

    _in_head = False
    _head = 0
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Join what is written, and expect a request."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_no_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; a whole read (256 KiB at most) may lie over the limit."""
        if self._in_head and self._head > HEAD_LIMIT:
            self._refuse(431, b"Request Header Fields Too Large", b"The head of the request is too large.")
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
        # Octets stop the keep-alive timer, so whatever they are, a whole head has to follow them.
        if self._overdue is None and (self._in_head or not self._is_answering()):
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._in_head = True
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self._in_head = False
        self._expect_no_head()
        super().on_headers_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of an upgrade nobody offers: the request is answered as if it had not asked (RFC 9110 §7.8)."""

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_head(self) -> None:
        self._overdue = self.loop.call_later(HEAD_SECONDS, self._on_overdue)

    def _expect_no_head(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _on_overdue(self) -> None:
        if self._is_answering():  # the head of a request sent ahead; the answer under way goes first
            self._expect_head()
        elif self._in_head:
            self._refuse(408, b"Request Timeout", b"The head of the request did not arrive in time.")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: bytes, text: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (status, reason, len(text), text)
        )
        self.transport.close()
