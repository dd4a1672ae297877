"""Keeps what arrived: every message that came to its dot, taken or refused, within a bound of memory.

The oldest make room for the newest; the same bound holds for content that is still arriving.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from app.kit.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message as it came to its dot.

    ``raw`` are its octets, un-dot-stuffed, with the CRLF of the last line. ``rcpt_tos`` are the recipients that were
    accepted at RCPT. ``reply`` is what the client was told at the dot, or was to be told before the connection was
    cut; None where it was cut before anything was decided. ``tls`` is the protocol's version, None in the clear.
    ``round_trips`` counts from the transaction's first command to the reply. ``has_bare_newline``: a CR or LF that is
    no part of a CRLF was in it.
    """

    number: int
    session: int
    login: str | None
    mail_from: str
    rcpt_tos: tuple[str, ...]
    raw: bytes = field(repr=False)
    at: datetime
    tls: str | None
    accepted: bool
    reply: str | None
    message_id: str | None
    subject: str | None
    round_trips: int
    has_bare_newline: bool


class Inbox:
    """The messages in order of arrival; numbers start at 1 and are never used again."""

    def __init__(self, clock: Clock, *, messages: int, memory: int) -> None:
        self._clock = clock
        self._limit = messages
        self._memory = memory
        self._kept: deque[Received] = deque()
        self._kept_octets = 0
        self._arriving_octets = 0
        self._last = 0
        self._news = asyncio.Event()

    def next_number(self) -> int:
        """Return the number of the next message."""
        self._last += 1
        return self._last

    def add(self, message: Received) -> None:
        """Keep a message, and forget the oldest where the bound asks for it."""
        self._kept.append(message)
        self._kept_octets += len(message.raw)
        while len(self._kept) > self._limit:
            self._forget()
        self._make_room()
        self._news.set()
        self._news = asyncio.Event()

    def arriving(self, octets: int) -> bool:
        """Count content that is arriving (negative: is done with); False: there is no room for it."""
        self._arriving_octets += octets
        self._make_room()
        return self._arriving_octets <= self._memory

    def clear(self) -> None:
        """Forget every message; numbers go on."""
        self._kept.clear()
        self._kept_octets = 0

    def find(self, number: int) -> Received | None:
        """Return a message by its number, if it is still kept."""
        return next((message for message in self._kept if message.number == number), None)

    async def wait_for(self, accepted: int, seconds: float) -> list[Received]:
        """Wait until so many accepted messages are here and return them; raises TimeoutError."""
        end = self._clock.boot() + seconds
        while len(found := [message for message in self._kept if message.accepted]) < accepted:
            if not await self._clock.wait(self._news, end - self._clock.boot()):
                raise TimeoutError(f"{len(found)} of {accepted} messages came within {seconds:g} s")
        return found

    def _make_room(self) -> None:
        while self._kept and self._kept_octets + self._arriving_octets > self._memory:
            self._forget()

    def _forget(self) -> None:
        self._kept_octets -= len(self._kept.popleft().raw)

    def __iter__(self) -> Iterator[Received]:
        return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)
