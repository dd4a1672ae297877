"""A small neutral SMTP server: STARTTLS, AUTH PLAIN and LOGIN, PIPELINING. It takes everything, keeps nothing, counts.

Shares no code with the product or its emulator. Answers at once, or the dot later by ``dot_delay`` seconds; a server
answers one command after the other, so what came behind such a dot waits. With ``exchange`` it has Exchange's limits:
432 to the dot of any session but the three oldest, 451 to the 31st dot in a calendar minute (refused ones count too).

A *turn* is one change from our words to the client's: what the client sent after it had seen a reply. Between two dots
on one session the turns are the round trips of a message. A message is named by the local part of its first recipient;
arrivals are instants of ``time.monotonic``, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import time
from collections import Counter
from pathlib import Path
from typing import Any

import trustme
import uvloop

from bench.lines import obey

_END = b"\r\n.\r\n"
_ASKS = (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n")  # "Username:", "Password:"
_SESSIONS = 3
_PER_MINUTE = 30
_HELLO = (
    b"250-sink\r\n250-PIPELINING\r\n250-SIZE 157286400\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
)


class Book:
    """What the sink knows and how it behaves; one for all sessions."""

    def __init__(self) -> None:
        self.dot_delay = 0.0
        self.is_exchange = False
        self.signed_in: list[Session] = []
        self.reset()

    def reset(self, dot_delay: float = 0.0, exchange: bool = False) -> dict[str, Any]:
        """Forget what was counted and behave as told from now on; open sessions stay."""
        self.dot_delay, self.is_exchange = dot_delay, exchange
        self.connections = self.sessions = self.messages = self.octets = 0
        self.most_sessions = len(self.signed_in)
        self.refusals: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.arrivals: list[tuple[str, float]] = []
        self._minute: tuple[int, int] = (0, 0)
        return {}

    def enter(self, session: Session) -> None:
        """Note a session that has signed in."""
        self.sessions += 1
        self.signed_in.append(session)
        self.most_sessions = max(self.most_sessions, len(self.signed_in))

    def verdict(self, session: Session) -> bytes:
        """Judge a dot that has just come."""
        if self.is_exchange:
            if session not in self.signed_in[:_SESSIONS]:
                self.refusals["432"] += 1
                return b"432 4.3.2 Concurrent connections limit exceeded\r\n"
            minute, count = self._minute
            now = int(time.time() // 60)
            self._minute = (now, count + 1 if now == minute else 1)
            if self._minute[1] > _PER_MINUTE:
                self.refusals["451"] += 1
                return b"451 4.7.0 Message rate limit exceeded\r\n"
        return b"250 2.6.0 taken\r\n"

    def stats(self, arrivals: bool = False) -> dict[str, Any]:
        """Tell what was counted since the last reset."""
        told: dict[str, Any] = {
            "connections": self.connections,
            "sessions": self.sessions,
            "most_sessions": self.most_sessions,
            "messages": self.messages,
            "octets": self.octets,
            "refusals": dict(self.refusals),
            "turns": dict(self.turns),
        }
        if arrivals:
            told["arrivals"] = self.arrivals
        return told


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, book: Book, context: ssl.SSLContext) -> None:
        self._book = book
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._commands = b""
        self._tail: bytes | None = None  # the last octets of the content, None outside of it
        self._out: list[bytes] = []
        self._name = ""
        self._is_tls = self._is_signed_in = self._is_held = self._has_replied = False
        self._login: list[bytes] = []
        self._turns = 0
        self._is_warm = False
        self._upgrade: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._book.connections += 1
        self._reply(b"220 sink ESMTP\r\n")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._book.signed_in:
            self._book.signed_in.remove(self)

    def data_received(self, data: bytes) -> None:
        if self._has_replied:
            self._turns += 1
            self._has_replied = False
        self._take(data)
        self._flush()

    def _take(self, data: bytes) -> None:
        while data or self._commands:
            if self._is_held:
                self._commands += data
                return
            if self._tail is not None:
                data, self._commands = self._content(self._commands + data), b""
                continue
            self._commands += data
            line, found, rest = self._commands.partition(b"\r\n")
            if not found:
                return
            self._commands, data = b"", rest
            self._command(line)

    def _content(self, data: bytes) -> bytes:
        """Take in content; return what follows its end."""
        assert self._tail is not None
        self._book.octets += len(data)
        before = len(self._tail)
        joined = self._tail + data
        end = joined.find(_END)
        if end < 0:
            self._tail = joined[-4:]
            return b""
        self._tail = None
        rest = joined[max(end + len(_END), before) :]
        self._book.octets -= len(rest)
        if self._book.dot_delay:
            self._is_held = True
            self._loop.call_later(self._book.dot_delay, self._late, self._book.verdict(self))
        else:
            self._judge(self._book.verdict(self))
        return rest

    def _late(self, verdict: bytes) -> None:
        self._is_held = False
        self._judge(verdict)
        self._take(b"")
        self._flush()

    def _judge(self, verdict: bytes) -> None:
        book = self._book
        if verdict.startswith(b"250"):
            book.messages += 1
            book.arrivals.append((self._name, time.monotonic()))
        if self._is_warm:
            book.turns[self._turns] += 1
        self._turns, self._is_warm = 0, True
        self._name = ""
        self._reply(verdict)

    def _command(self, line: bytes) -> None:
        word = line[:4].upper()
        if self._login:
            self._continue_login()
        elif word == b"MAIL":
            self._reply(b"250 2.1.0 ok\r\n" if self._is_signed_in else b"530 5.7.0 sign in first\r\n")
        elif word == b"RCPT":
            self._name = self._name or line[line.find(b"<") + 1 : line.find(b"@")].decode("ascii", "replace")
            self._reply(b"250 2.1.5 ok\r\n")
        elif word == b"DATA":
            self._tail = b"\r\n"
            self._reply(b"354 go on\r\n")
        elif word in (b"RSET", b"NOOP"):
            self._name = ""
            self._reply(b"250 2.0.0 ok\r\n")
        elif word == b"EHLO":
            self._reply(_HELLO + (b"250 AUTH PLAIN LOGIN\r\n" if self._is_tls else b"250 STARTTLS\r\n"))
        elif word == b"STAR":
            self._start_tls()
        elif word == b"AUTH" and self._is_tls:
            self._auth(line)
        elif word == b"QUIT":
            self._reply(b"221 2.0.0 bye\r\n")
            self._flush()
            self._transport.close()
        else:
            self._reply(b"502 5.5.1 no\r\n")

    def _auth(self, line: bytes) -> None:
        words = line.split()
        if words[1].upper() == b"PLAIN" and len(words) == 3:
            self._enter()
        elif words[1].upper() == b"LOGIN":
            self._login = list(_ASKS[1:] if len(words) == 3 else _ASKS)
            self._reply(self._login[0])
        else:
            self._reply(b"504 5.5.4 PLAIN with its response, or LOGIN\r\n")

    def _continue_login(self) -> None:
        self._login.pop(0)
        if self._login:
            self._reply(self._login[0])
        else:
            self._enter()

    def _enter(self) -> None:
        self._is_signed_in = True
        self._book.enter(self)
        self._reply(b"235 2.7.0 welcome\r\n")

    def _start_tls(self) -> None:
        self._reply(b"220 2.0.0 go on\r\n")
        self._flush()
        self._commands = b""  # what came before the handshake is not trusted (RFC 3207 §4.2)
        self._upgrade = self._loop.create_task(self._shake_hands())

    async def _shake_hands(self) -> None:
        try:
            self._transport = await self._loop.start_tls(self._transport, self, self._context, server_side=True)
            self._is_tls = True
        except (OSError, ssl.SSLError):
            self._transport.abort()

    def _reply(self, text: bytes) -> None:
        self._out.append(text)

    def _flush(self) -> None:
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()
            self._has_replied = True


async def main(ca_out: Path) -> None:
    """Listen on a free port of 127.0.0.1 and obey."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(ca_out))
    book = Book()
    server = await asyncio.get_running_loop().create_server(lambda: Session(book, context), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await obey({"port": port}, {"reset": book.reset, "stats": book.stats})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ca-out", type=Path, required=True)
    uvloop.run(main(parser.parse_args().ca_out))
