"""The content on its way out: read ahead so far as to know whether it is small, dot-stuffed, cut into writes.

Never holds more than one chunk of the source and one write; the last write is at most 64 KiB, and the final dot goes
with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from app.mail.transaction import Content

# What may wait for the hand-over mark: the last write, and content that is written in one.
PIECE = 64 * 1024


class Stuffer:
    """Doubles the dot at the head of a line (RFC 5321 §4.5.2), whatever way the content is cut into chunks."""

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the content begins at the head of a line

    def stuff(self, chunk: bytes) -> bytes:
        """Return the next octets as they go over the wire."""
        if not chunk:
            return chunk
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if self._tail == b"\r\n" and chunk.startswith(b"."):
            stuffed = b"." + stuffed
        elif self._tail[-1:] == b"\r" and chunk.startswith(b"\n."):
            stuffed = b"\n." + stuffed[1:]
        self._tail = (self._tail + chunk[-2:])[-2:]
        return stuffed

    def end(self) -> bytes:
        """Return the final dot, on a line of its own."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


class Unreadable(Exception):
    """The source of the content failed."""


class Upload:
    """One reading of a content; raises ``Unreadable`` for whatever the source raises."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._chunks: AsyncIterator[bytes] | None = None
        self._stuffer = Stuffer()
        self._head: list[bytes] = []
        self.is_small = False

    async def begin(self) -> None:
        """Read ahead; then ``is_small`` says whether the whole content is at most ``PIECE`` octets."""
        octets = 0
        while octets <= PIECE:
            chunk = await self._next()
            if chunk is None:
                self.is_small = True
                return
            self._head.append(chunk)
            octets += len(chunk)

    def whole(self) -> bytes:
        """Return a small content, stuffed, with the final dot: one write."""
        head, self._head = b"".join(self._head), []
        return self._stuffer.stuff(head) + self._stuffer.end()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the octets of a large content, stuffed, in writes of at most ``PIECE`` octets."""
        head, self._head = self._head, []
        while head:
            for piece in self._cut(head.pop(0)):
                yield piece
        while (chunk := await self._next()) is not None:
            for piece in self._cut(chunk):
                yield piece

    def end(self) -> bytes:
        """Return the final dot; to be asked for after the last piece."""
        return self._stuffer.end()

    async def close(self) -> None:
        """Let go of the source, wherever the reading stopped."""
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            with suppress(Exception):
                await close()

    async def _next(self) -> bytes | None:
        """Return the next chunk, None at the end."""
        try:
            if self._chunks is None:
                self._chunks = self._content.chunks()
            return await anext(self._chunks, None)
        except Exception as problem:
            raise Unreadable(f"the content could not be read ({type(problem).__name__})") from problem

    def _cut(self, chunk: bytes) -> list[bytes]:
        stuffed = self._stuffer.stuff(chunk)
        if len(stuffed) <= PIECE:
            return [stuffed] if stuffed else []
        return [stuffed[at : at + PIECE] for at in range(0, len(stuffed), PIECE)]
