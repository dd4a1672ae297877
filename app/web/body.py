"""Takes a request's body in: bounded in size, in time, and in what all bodies together may hold of memory.

Nothing is read before somebody asks for it, so a request that is refused by its headers costs no octet of its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive

from app.kit.deadline import Deadline
from app.web.problems import Problem

# A streamed body holds at most this much at a time, whatever its length: what the server buffers and one chunk.
_STREAM_WINDOW: Final = 256 * 1024
# Up to here the rest of a body nobody reads is left to the server, which drops it and keeps the connection.
_NEGLIGIBLE: Final = 1024 * 1024


class Disconnected(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Octets of one body, octets of all bodies in flight, seconds for one to arrive; 0 means no limit."""

    body: int
    memory: int
    timeout: float


class Memory:
    """What all request bodies in flight hold together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def __repr__(self) -> str:
        return f"<Memory {self._held} of {self._limit} octets>"

    @property
    def held(self) -> int:
        """Octets held now."""
        return self._held

    def take(self, octets: int) -> bool:
        """Hold more; False where there is no room. Who comes when nobody holds anything always finds room."""
        if self._held and self._limit and self._held + octets > self._limit:
            return False
        self._held += octets
        return True

    def give(self, octets: int) -> None:
        """Hold less."""
        self._held -= octets


class Body:
    """The body of one request. ``declared`` is its Content-Length, None where it comes in chunks."""

    def __init__(self, receive: Receive, declared: int | None, limits: BodyLimits, memory: Memory) -> None:
        self._receive = receive
        self._limits = limits
        self._memory = memory
        self._held = 0
        self._seen = 0
        self.declared = declared
        self._pending = declared != 0

    def is_pending(self) -> bool:
        """Whether octets may still come."""
        return self._pending

    def is_burden(self) -> bool:
        """Whether so much is still to come that the connection is not worth keeping."""
        return self._pending and (self.declared is None or self.declared > _NEGLIGIBLE)

    def check_declared(self) -> None:
        """Refuse a body that says itself that it is too large."""
        if self.declared is not None and self._limits.body and self.declared > self._limits.body:
            raise self._too_large()

    def hold(self, octets: int) -> None:
        """Count octets against the memory of all bodies until ``release``; 503 ``busy`` where there is no room."""
        if not self._memory.take(octets):
            raise Problem("busy")
        self._held += octets

    def release(self) -> None:
        """Give back what is held."""
        self._memory.give(self._held)
        self._held = 0

    async def read(self) -> bytes | bytearray:
        """Return the whole body."""
        if not self.is_pending():
            return b""
        if self.declared is not None:
            self.hold(self.declared)
        try:
            with Deadline(self._limits.timeout):
                whole: bytes | bytearray = await self._held_chunk()
                if self.is_pending():
                    whole = bytearray(whole)
                    while self.is_pending():
                        whole += await self._held_chunk()
                return whole
        except TimeoutError:
            raise self._too_slow() from None

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; only a small window of it counts as held."""
        self.hold(min(self.declared or _STREAM_WINDOW, _STREAM_WINDOW))
        loop = asyncio.get_running_loop()
        # The limit is for arriving; the time the reader takes between two chunks is not the client's fault.
        left = self._limits.timeout
        while self.is_pending():
            began = loop.time()
            try:
                with Deadline(left):
                    chunk = await self._next(self._limits.body)
            except TimeoutError:
                raise self._too_slow() from None
            if left:
                # Not 0, which would be no limit.
                left = max(0.001, left - (loop.time() - began))
            yield chunk

    async def drain(self) -> None:
        """Read on without keeping anything, so that a client that is still sending gets to read its answer.

        Closing with unread octets makes the operating system reset the connection, answer and all (RFC 9112 §9.6).
        """
        with suppress(Problem, Disconnected, TimeoutError), Deadline(self._limits.timeout):
            while self.is_pending():
                await self._next(2 * self._limits.body)

    async def _held_chunk(self) -> bytes:
        chunk = await self._next(self._limits.body)
        if self.declared is None:
            self.hold(len(chunk))
        return chunk

    async def _next(self, limit: int) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        self._seen += len(chunk)
        if limit and self._seen > limit:
            raise self._too_large()
        self._pending = bool(message.get("more_body", False))
        return chunk

    def _too_large(self) -> Problem:
        limit = self._limits.body
        return Problem("payload-too-large", f"a body may have {limit} octets", members={"limit": limit})

    @staticmethod
    def _too_slow() -> Problem:
        return Problem("request-timeout", headers={"connection": "close"})
