"""An SMTP server that says exactly what a test writes down, octet for octet, and ends as ordered.

``Scripted(script, tls)`` runs ``script(peer)`` for each connection. The peer reads lines, writes octets, turns to TLS,
and leaves with close_notify, with a bare FIN, or with a reset. What each connection said is kept.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

BANNER = b"220 scripted.example ESMTP ready [08DE0000000000AA]\r\n"
CLEAR_EHLO = b"250-scripted.example\r\n250 STARTTLS\r\n"
TLS_EHLO = b"250-scripted.example\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 AUTH LOGIN XOAUTH2\r\n"
SIGNED_IN = b"235 2.7.0 Authentication successful\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext) -> None:
        self._reader = reader
        self._writer = writer
        self._tls = tls
        self._socket: socket.socket = writer.get_extra_info("socket")
        self.heard: list[bytes] = []
        self.in_tls: list[bytes] = []
        self._is_tls = False

    async def line(self) -> bytes:
        """Return the next line without its ending; raises ``EOFError`` when the client has left."""
        line = await self._reader.readuntil(b"\r\n")
        self.heard.append(line[:-2])
        if self._is_tls:
            self.in_tls.append(line[:-2])
        return line[:-2]

    async def lines(self, count: int) -> list[bytes]:
        return [await self.line() for _ in range(count)]

    async def until(self, end: bytes) -> bytes:
        """Return everything up to and with ``end``."""
        return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """Return everything until the client leaves."""
        with suppress(ConnectionError, ssl.SSLError):
            return await self._reader.read()
        return b""

    async def some(self) -> bytes:
        """Return what has come, at least one octet; raises ``ConnectionError`` at the end."""
        octets = await self._reader.read(256 * 1024)
        if not octets:
            raise ConnectionResetError
        return octets

    async def octets(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    async def say(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def start_tls(self) -> None:
        await self._writer.start_tls(self._tls)
        self._is_tls = True

    async def greet(self, ehlo: bytes = TLS_EHLO) -> None:
        """Go as far as the EHLO under TLS."""
        await self.say(BANNER)
        await self.line()
        await self.say(CLEAR_EHLO)
        await self.line()
        await self.say(b"220 2.0.0 go\r\n")
        await self.start_tls()
        await self.line()
        await self.say(ehlo)

    async def welcome(self, ehlo: bytes = TLS_EHLO) -> None:
        """Go as far as a successful AUTH LOGIN."""
        await self.greet(ehlo)
        await self.line()
        await self.say(b"334 UGFzc3dvcmQ6\r\n")
        await self.line()
        await self.say(SIGNED_IN)

    async def flight(self, recipients: int = 1) -> list[bytes]:
        """Read RSET, MAIL, RCPT …, DATA; return them."""
        return await self.lines(recipients + 3)

    async def accept(self, recipients: int = 1, data: bytes = b"354 go\r\n") -> list[bytes]:
        """Read a flight, accept all of it; return it."""
        flight = await self.flight(recipients)
        await self.say(b"250 2.0.0 reset\r\n250 2.1.0 sender\r\n" + b"250 2.1.5 recipient\r\n" * recipients + data)
        return flight

    def fin(self) -> None:
        """End with FIN alone; under TLS that is a truncation."""
        with socket.socket(fileno=os.dup(self._socket.fileno())) as twin:  # uvloop's own socket cannot
            twin.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def stop_reading(self) -> None:
        """Take nothing more, so that the client's writes pile up."""
        self._writer.transport.pause_reading()

    def close(self) -> None:
        """End in order."""
        self._writer.close()


Script = Callable[[Peer], Awaitable[None]]


class Scripted:
    """The listening server; ``peers`` are the connections so far, in order."""

    def __init__(self, script: Script | Sequence[Script], tls: ssl.SSLContext) -> None:
        self._scripts = [script] if callable(script) else list(script)
        self._tls = tls
        self.peers: list[Peer] = []
        self.port = 0
        self.failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(
        self, host: str = "127.0.0.1", receive_buffer: int | None = None, limit: int = 4 * 1024 * 1024
    ) -> AsyncIterator[Scripted]:
        """Listen; ``receive_buffer`` of the kernel and ``limit`` of ours bound what is taken in unread."""
        # asyncio turns Nagle off only where the protocol is named.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind((host, 0))
        server = await asyncio.start_server(self._serve, sock=listener, limit=limit)
        self.port = listener.getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            for _ in range(5):  # let the last ends of connections be noticed
                await asyncio.sleep(0)
        if self.failures:
            raise self.failures[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer, self._tls)
        self.peers.append(peer)
        script = self._scripts[min(len(self.peers), len(self._scripts)) - 1]
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


async def take_all(peer: Peer) -> None:
    """Welcome a password, take every message, answer QUIT."""
    await peer.welcome()
    await converse(peer)


async def take_all_by_token(peer: Peer) -> None:
    """The same for a sign-in of one line."""
    await peer.greet()
    await peer.line()
    await peer.say(SIGNED_IN)
    await converse(peer)


async def converse(peer: Peer) -> None:
    """Take every message until QUIT."""
    while await peer.line() != b"QUIT":
        await peer.lines(3)
        await peer.say(b"250 r\r\n250 s\r\n250 t\r\n354 go\r\n")
        await peer.until(b"\r\n.\r\n")
        await peer.say(b"250 2.0.0 taken\r\n")
    await peer.say(b"221 2.0.0 bye\r\n")
    peer.close()
