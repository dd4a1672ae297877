"""uvicorn's HTTP protocol with two things it lacks.

A bound on the head of a request, so that a client may not fill the memory: the head is parsed before any application
sees the request (the body is the guard's matter). And answers whose head and body leave in one write: uvicorn makes two
of them: two system calls, two packets, two wake-ups of the client.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Request line and headers together.
HEAD_LIMIT: Final = 64 * 1024


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
    """Ends a connection whose request's head is over the limit with a plain 431 (RFC 6585 §5)."""

    _in_head = False
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Join what is written."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; a whole read (256 KiB at most) may lie over the limit."""
        if self._in_head and self._head > HEAD_LIMIT:
            self._refuse_head()
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._in_head = True
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self._in_head = False
        super().on_headers_complete()

    def _refuse_head(self) -> None:
        text = b"The head of the request is too large."
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text)
        )
        self.transport.close()
