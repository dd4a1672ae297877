"""uvicorn's HTTP protocol with a bound on the head of a request, which it lacks: a client may not fill the memory.

The body is the guard's matter; the head is parsed before any application sees the request.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Request line and headers together.
HEAD_LIMIT: Final = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request's head is over the limit with a plain 431 (RFC 6585 §5)."""

    _in_head = False
    _head = 0

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
