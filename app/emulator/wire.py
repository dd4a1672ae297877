"""One TCP connection, in the clear and then under TLS, with every way to end it.

Replies are queued and leave together when the server must wait for more input, as a pipelining server does; each such
departure is one round trip. TLS is driven by hand, so that a connection can end with or without close_notify, or by a
reset, exactly as ordered.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import suppress

from app.kit.clock import Clock

LINE_LIMIT = 16 * 1024  # room for an access token of a user with many groups (RFC 4954 §4 asks for 12,288)
_PIECE = 256 * 1024
_UNREAD_LIMIT = 1024 * 1024  # what is taken in ahead while the server does not answer


class Gone(Exception):
    """The client has left, or the connection broke."""


class LineTooLong(Exception):
    """A line went over the limit; it has been read to its end and forgotten."""


class Wire:
    """Reads lines and content, queues and writes replies. Used by one task at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._unread = bytearray()
        self._queued = bytearray()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self.flights = 0
        self.waiting_since: float | None = None

    @property
    def peer(self) -> str:
        """The client's IP address."""
        name = self._writer.get_extra_info("peername")
        return str(name[0]) if name else "unknown"

    @property
    def tls_version(self) -> str | None:
        """``TLSv1.3`` and the like, or None in the clear."""
        return self._tls.version() if self._tls is not None else None

    @property
    def unread(self) -> bytes:
        """What has already arrived behind the line that was read last."""
        return bytes(self._unread)

    async def line(self) -> bytes:
        """Return the next line with its ending; raises ``Gone`` or ``LineTooLong``."""
        searched = 0
        is_too_long = False
        while True:
            end = self._unread.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._unread[: end + 1])
                del self._unread[: end + 1]
                if is_too_long or len(line) > LINE_LIMIT:
                    raise LineTooLong
                return line
            searched = len(self._unread)
            if searched > LINE_LIMIT:
                is_too_long = True
                self._unread.clear()
                searched = 0
            await self._more()

    async def piece(self, least: int = 1) -> bytes:
        """Return what has arrived, waiting for ``least`` octets; raises ``Gone``."""
        while len(self._unread) < least:
            await self._more()
        piece = bytes(self._unread)
        self._unread.clear()
        return piece

    def push_back(self, rest: bytes) -> None:
        """Give back what was read too much."""
        self._unread[:0] = rest

    def queue(self, octets: bytes) -> None:
        """Queue octets for the client."""
        self._queued += octets

    async def flush(self) -> None:
        """Write what is queued; raises ``Gone``."""
        if not self._queued:
            return
        octets = bytes(self._queued)
        self._queued.clear()
        self.flights += 1
        if self._tls is not None:
            try:
                self._tls.write(octets)
            except ssl.SSLError as error:
                raise Gone from error
            await self._pump()
        else:
            await self._write(octets)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the handshake; what was sent ahead of it is forgotten (RFC 3207 §4.2). Raises ``Gone``."""
        await self.flush()
        self._unread.clear()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        if self._reading is not None:  # left over from a pause: it brings the client's first octets
            hello, self._reading = await self._reading, None
            if not hello:
                raise Gone
            self._incoming.write(hello)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._pump()
                await self._fetch()
            except ssl.SSLError as error:
                await self._pump()  # the alert
                raise Gone from error
            else:
                break
        await self._pump()
        self._tls = tls

    async def pause(self, seconds: float | None) -> None:
        """Let time go by (None: until the client leaves), keeping what arrives; raises ``Gone`` when it leaves."""
        await self.flush()
        sleep = self._clock.sleep(seconds) if seconds is not None else asyncio.Event().wait()
        asleep = asyncio.ensure_future(sleep)
        try:
            while not asleep.done():
                if len(self._unread) > _UNREAD_LIMIT:
                    await asleep
                    break
                reading = self._start_reading()
                await asyncio.wait({asleep, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    self._take(reading)
        finally:
            asleep.cancel()

    async def finish(self) -> None:
        """End in order: what is queued, close_notify, FIN."""
        await self.flush()
        if self._tls is not None:
            with suppress(ssl.SSLError):  # the client has not answered ours yet; nobody waits for that
                self._tls.unwrap()
            await self._pump()
        self._writer.close()

    async def truncate(self) -> None:
        """End with FIN but without close_notify."""
        await self.flush()
        self._writer.close()

    def reset(self) -> None:
        """End with a TCP reset; what is queued is lost."""
        handle = self._writer.get_extra_info("socket")
        if handle is not None and not self._writer.is_closing():
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def release(self) -> None:
        """Let go of everything; the end of each session."""
        if self._reading is not None:
            self._reading.cancel()
        if not self._writer.is_closing():
            self._writer.transport.abort()

    async def _more(self) -> None:
        await self.flush()
        reading = self._start_reading()
        self.waiting_since = self._clock.boot()
        try:
            await asyncio.wait({reading})
        finally:
            self.waiting_since = None
        self._take(reading)

    def _start_reading(self) -> asyncio.Task[bytes]:
        # One read is kept over a pause that ends before it: cancelling it could lose octets.
        if self._reading is None:
            self._reading = asyncio.create_task(self._receive())
        return self._reading

    def _take(self, reading: asyncio.Task[bytes]) -> None:
        self._reading = None
        octets = reading.result()
        if not octets:
            raise Gone
        self._unread += octets

    async def _receive(self) -> bytes:
        """Return some octets, decrypted; empty at the end of the connection."""
        try:
            if self._tls is None:
                return await self._reader.read(_PIECE)
            while True:
                try:
                    return self._tls.read(_PIECE)
                except ssl.SSLWantReadError:
                    await self._pump()
                    await self._fetch()
        except (Gone, OSError, ssl.SSLError):
            return b""

    async def _fetch(self) -> None:
        try:
            raw = await self._reader.read(_PIECE)
        except OSError as error:
            raise Gone from error
        if not raw:
            raise Gone
        self._incoming.write(raw)

    async def _pump(self) -> None:
        """Write what TLS has to say."""
        octets = self._outgoing.read()
        if octets:
            await self._write(octets)

    async def _write(self, octets: bytes) -> None:
        if self._writer.is_closing():
            raise Gone
        try:
            self._writer.write(octets)
            await self._writer.drain()
        except OSError as error:
            raise Gone from error
