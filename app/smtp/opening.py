"""Opens one connection up to the EHLO under TLS; never in the clear, never with a name unproven.

aiosmtplib connects, greets and does STARTTLS. Until TLS stands, a guard on the transport sees to it that the server
says exactly what was asked for: octets that come along with the answer to STARTTLS were put there by somebody in
between (RFC 3207 §6), and the connection is cut. Under TLS our own ``Wire`` speaks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from app.mail.transaction import ConnectTrouble
from app.smtp.failures import Step, reply_trouble, trouble_of
from app.smtp.parser import ReplyParser
from app.smtp.target import Features, Target, features_of
from app.smtp.wire import Broken, Wire


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection under verified TLS, before the sign-in.

    ``greeting`` is the server's banner, ``hello`` its answer to EHLO under TLS, line by line.
    """

    wire: Wire
    features: Features
    greeting: str
    hello: tuple[str, ...]


class Opening:
    """One attempt; can be aborted from outside while it runs.

    ``step`` tells how far it came, ``greeting`` what the server said first, also when it ended in trouble.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = aiosmtplib.SMTP(
            hostname=target.host,
            port=target.port,
            local_hostname=target.ehlo_name,
            tls_context=target.tls,
            start_tls=False,  # done below, behind the guard; by default the library would stay in the clear without it
            timeout=None,  # one time-out spans the whole attempt
        )
        self.step = Step.CONNECT
        self.greeting = ""
        self._guard: _Guard | None = None
        self._wire: Wire | None = None
        self._is_aborted = False

    async def run(self) -> Opened:
        """Return the connection; raises ``ConnectTrouble``. Cancelled or failed, nothing stays open."""
        seconds = self._target.timeouts.connect
        opened: Opened | None = None
        try:
            async with asyncio.timeout(seconds):
                opened = await self._open()
            return opened
        except (aiosmtplib.SMTPException, Broken, OSError, UnicodeError) as problem:
            if self._guard is not None and self._guard.trouble is not None:
                raise self._guard.trouble from problem
            raise trouble_of(problem, self.step, str(self._target), seconds) from problem
        finally:
            if opened is None:
                self._cut()

    def abort(self) -> None:
        """Cut it; ``run`` raises."""
        self._is_aborted = True
        self._cut()

    async def _open(self) -> Opened:
        target, client = self._target, self._client
        greeting = await client.connect()
        self.greeting = " ".join(greeting.message.split())
        self._check()
        guard = _Guard(cast(asyncio.Transport, client.transport), cast(SMTPProtocol, client.protocol), str(target))
        self._guard = guard
        self.step = Step.EHLO
        guard.expect_reply()
        await client.ehlo()
        if not client.supports_extension("starttls"):
            raise ConnectTrouble("starttls-missing", f"{target} does not offer STARTTLS; nothing is said in the clear")
        self.step = Step.STARTTLS
        guard.expect_reply()
        await client.starttls()
        self._check()
        transport = cast(asyncio.Transport, client.transport)
        if transport.get_extra_info("ssl_object") is None:
            # Cannot happen; looked at all the same, because soon a credential is written.
            raise ConnectTrouble("tls-failed", f"the connection to {target} is not encrypted")
        self.step = Step.TLS_EHLO
        self._wire = wire = Wire(transport)
        raw = await wire.reply(b"EHLO " + target.ehlo_name.encode("ascii"), target.timeouts.connect)
        if raw.code != 250:
            raise reply_trouble(raw, self.step, str(target))
        return Opened(wire, features_of(raw.lines), self.greeting, raw.lines)

    def _check(self) -> None:
        if self._is_aborted or not self._client.is_connected:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")

    def _cut(self) -> None:
        if self._wire is not None:
            self._wire.cut("aborted", "the session was cut while it was opened")
        elif self._client.transport is not None:
            cast(asyncio.Transport, self._client.transport).abort()
        self._client.close()


class _Guard(asyncio.Protocol):
    """Passes everything on to aiosmtplib's protocol, and cuts the connection at octets beyond the reply expected."""

    def __init__(self, transport: asyncio.Transport, inner: SMTPProtocol, place: str) -> None:
        self.trouble: ConnectTrouble | None = None
        self._place = place
        self._transport = transport
        self._inner = inner
        self._parser = ReplyParser()
        self._due = 0
        transport.set_protocol(self)

    def expect_reply(self) -> None:
        self._due += 1

    def data_received(self, data: bytes) -> None:
        self._due -= len(self._parser.feed(data))
        if self._due < 0 or (self._due == 0 and (self._parser.is_amid or self._parser.fault)):
            self.trouble = ConnectTrouble(
                "injected", f"octets that nobody asked for came from {self._place} before TLS stood"
            )
        elif self._parser.fault:
            self.trouble = ConnectTrouble("reply", f"{self._place} does not speak SMTP: it sent {self._parser.fault}")
        if self.trouble is not None:
            self._transport.abort()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
