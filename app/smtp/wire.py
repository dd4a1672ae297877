"""One connection, spoken from the sign-in on: commands out, complete replies in, nothing unexpected.

It knows how many replies are due. An octet that nobody waits for, a malformed reply, an end of the connection, a 421 or
a time-out breaks it: the connection is cut at once (``abort``, never ``close``, which would still flush what is
buffered) and stays cut. Replies that were complete before that can still be read. While a session rests, it is this
protocol that notices the server's goodbye.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from app.smtp.parser import RawReply, ReplyParser

# At most so much waits in our memory for a slow peer, beside what one write brings.
_HIGH_WATER = 64 * 1024
_WORDS = 200


class Broken(Exception):
    """The connection is no longer usable: ``reason`` is a word of ``Observer.closed``, ``text`` a sentence."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class Wire(asyncio.Protocol):
    """See the module's promise. Used by one task at a time; ``on_broken`` is called once, at the break."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.broken: Broken | None = None
        self.on_broken: Callable[[], None] | None = None
        self.has_heard = False  # whether an octet came since the last ``send``
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._due = 0
        self._unread: list[RawReply] = []
        self._is_paused = False
        self._is_gone = False
        self._waiter: asyncio.Future[bool] | None = None
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.set_protocol(self)

    def __repr__(self) -> str:
        return f"<Wire {self.broken.reason if self.broken else 'well'}, {self._due} due, {len(self._unread)} unread>"

    @property
    def is_settled(self) -> bool:
        """Whether it is usable, and neither side owes the other anything."""
        return self.broken is None and not self._due and not self._unread and not self._parser.is_amid

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS of the connection; None in the clear."""
        return cast(ssl.SSLObject | None, self._transport.get_extra_info("ssl_object"))

    # ------------------------------------------------------------ speaking

    def send(self, octets: bytes, replies: int = 0) -> None:
        """Write in one go and expect so many replies to it. Raises ``Broken``; then nothing was written."""
        if self.broken is not None:
            raise self.broken
        self._due += replies
        self.has_heard = False
        self._transport.write(octets)

    async def drain(self, seconds: float) -> None:
        """Wait until the peer has taken enough of what was written.

        Raises ``Broken``, also when nothing moves for ``seconds``.
        """
        while self._is_paused and self.broken is None:
            before = self._transport.get_write_buffer_size()
            if not await self._wait(seconds) and self._transport.get_write_buffer_size() >= before:
                self.cut("timeout", f"the server took nothing for {seconds:g} s")
        if self.broken is not None:
            raise self.broken

    async def replies(self, count: int, seconds: float) -> list[RawReply]:
        """Return the next ``count`` replies, within ``seconds``; raises ``Broken``, see ``take`` for those before."""
        end = self._loop.time() + seconds
        while len(self._unread) < count:
            if self.broken is not None:
                raise self.broken
            if not await self._wait(end - self._loop.time()):
                self.cut("timeout", f"no reply for {seconds:g} s")
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    async def reply(self, command: bytes, seconds: float) -> RawReply:
        """Send a command line (without its CRLF) and return its reply; raises ``Broken``."""
        self.send(command + b"\r\n", replies=1)
        return (await self.replies(1, seconds))[0]

    def take(self) -> list[RawReply]:
        """Return the replies that came and were not read; for the account of a broken transaction."""
        taken, self._unread = self._unread, []
        return taken

    async def leave(self, seconds: float) -> None:
        """End politely: QUIT, its reply, close_notify; after ``seconds``, or if the server does not play along, cut."""
        end = self._loop.time() + seconds
        try:
            await self.reply(b"QUIT", seconds)
            self.on_broken = None
            self._transport.close()
            while not self._is_gone and await self._wait(end - self._loop.time()):
                pass
        except Broken:
            pass
        finally:
            self.cut("aborted", "the session was closed")

    def cut(self, reason: str, text: str) -> None:
        """Break the connection now; what is buffered is not written any more. The first reason stays."""
        if self.broken is None:
            self.broken = Broken(reason, text)
            self._transport.abort()
            self._wake()
            if self.on_broken is not None:
                self.on_broken()

    # ------------------------------------------------------------ asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take in octets."""
        if self.broken is not None:
            return
        self.has_heard = True
        for reply in self._parser.feed(data):
            if not self._due:
                self._spoke_out_of_turn(reply)
                return
            self._due -= 1
            self._unread.append(reply)
            if reply.code == 421:
                self._said_goodbye(reply)
                return
        if self._parser.fault is not None:
            self.cut("malformed", f"the server sent {self._parser.fault}")
        elif not self._due and self._parser.is_amid:
            self.cut("out-of-turn", "the server spoke out of turn")
        elif not self._due:
            self._wake()

    def eof_received(self) -> None:
        """Take the server's end; TLS has no half-closed connections."""
        self.cut("lost", "the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self._is_gone = True
        self.cut("lost", f"the connection was lost ({_why(exc)})" if exc else "the server closed the connection")
        self._wake()

    def pause_writing(self) -> None:
        """Hold back: the peer is slow."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._wake()

    # ------------------------------------------------------------ inside

    def _spoke_out_of_turn(self, reply: RawReply) -> None:
        if reply.code == 421:
            self._said_goodbye(reply)
        else:
            self.cut("out-of-turn", f"the server spoke out of turn: {_shown(reply)}")

    def _said_goodbye(self, reply: RawReply) -> None:
        # 421 may answer any command; the server closes then (RFC 5321 §4.2.3), and no later reply is worth a wait.
        self.cut("closing", f"the server closed the session: {_shown(reply)}")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def _wait(self, seconds: float) -> bool:
        """Wait for a wake-up; False: it did not come within ``seconds``."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_later(seconds, _expire, waiter)
        try:
            woken = await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return woken


def _expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


def _why(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or type(problem).__name__


def _shown(reply: RawReply) -> str:
    return f"{reply.code} {' '.join(reply.lines)}"[:_WORDS].strip()
