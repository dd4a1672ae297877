"""One SMTP session: greeting, hello, STARTTLS, sign-in, any number of transactions, end.

Takes whatever a client sends: wrong order, wrong lines, nothing at all. A watchdog ends sessions that are idle or too
old, as Exchange does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.emulator import replies
from app.emulator.accounts import Account, canonical
from app.emulator.faults import CERTIFICATES, Action, Occasion, Phase
from app.emulator.signin import SignIn
from app.emulator.speaker import Ended, Speaker
from app.emulator.state import MAXIMUM_SIZE, State
from app.emulator.transaction import Transaction
from app.emulator.wire import Gone, LineTooLong, Wire

_ERROR_LIMIT = 20
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{8,}={0,2}\s*")
_KEYWORDS = {
    Action.NO_STARTTLS: "STARTTLS",
    Action.NO_AUTH: "AUTH",
    Action.NO_PIPELINING: "PIPELINING",
    Action.NO_SMTPUTF8: "SMTPUTF8",
    Action.NO_8BITMIME: "8BITMIME",
    Action.NO_SIZE: "SIZE",
}


class Session:
    """One connection; ``login`` is the mailbox it is signed in as, or None."""

    def __init__(self, state: State, wire: Wire, number: int) -> None:
        self.state = state
        self.wire = wire
        self.number = number
        self.speaker = Speaker(state, wire, number)
        self.account: Account | None = None
        self.login: str | None = None
        self.refused_sign_in: str | None = None
        self.without: set[str] = set()
        self._opened = state.clock.boot()
        self._has_greeted = False
        self._errors = 0
        self._transaction: Transaction | None = None
        self._commands: dict[bytes, Callable[[str], Awaitable[None]]] = {
            b"EHLO": self._ehlo,
            b"HELO": self._helo,
            b"STARTTLS": self._starttls,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": self._noop,
            b"VRFY": self._vrfy,
            b"QUIT": self._quit,
        }

    async def run(self) -> None:
        """Converse until one side ends it; raises nothing of the network."""
        self.state.counters.opened()
        self.heard("<connected>")
        watchdog = asyncio.create_task(self._watch(), name=f"emulator session {self.number} watchdog")
        try:
            with suppress(Gone, Ended):
                await self._greet()
                while True:
                    await self._next_command()
        finally:
            watchdog.cancel()
            self._leave()
            self.state.counters.sessions_open -= 1
            self.heard("<ended>")

    def heard(self, what: str) -> None:
        """Write down what came."""
        self.state.transcript.note(self.number, what)

    def sign_in(self, account: Account, login: str) -> None:
        """Note who the client is."""
        self.account, self.login = account, canonical(login)
        self.state.exchange.enter(self.login, self.number)
        self.state.counters.signed_in(self.login)

    def occasion(self, phase: Phase, *, login: str | None = None) -> Occasion:
        """Return what is known of this session at a phase outside transactions."""
        return Occasion(phase, self.number, login or self.login)

    async def cut(self, how: Action) -> None:
        """End the session from outside: an idle connection that the server gives up."""
        with suppress(Gone, Ended):
            await self.speaker.cut(how)

    def _leave(self) -> None:
        """No longer count among the sessions of the mailbox."""
        if self.login is not None:
            self.state.exchange.leave(self.login, self.number)
            self.state.counters.login(self.login).sessions_open -= 1
            self.login = self.account = None

    async def _greet(self) -> None:
        banner = replies.banner(self.number, self.state.clock.now())
        if await self.speaker.step(self.occasion(Phase.CONNECT), banner) >= 400:
            await self.speaker.cut(Action.CLOSE)

    async def _next_command(self) -> None:
        try:
            line = await self.wire.line()
        except LineTooLong:
            await self._refuse(replies.LINE_TOO_LONG)
            return
        self._look_for_credentials(line)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            await self._refuse(replies.BARE_NEWLINE)
            return
        verb, _, argument = line[:-2].partition(b" ")
        command = self._commands.get(verb.upper())
        self.state.transcript.command(self.number, line, is_known=command is not None)
        if command is None:
            await self._refuse(replies.UNRECOGNIZED)
            return
        await command(argument.decode("utf-8", "surrogateescape").strip())

    async def _refuse(self, reply: str) -> None:
        self._errors += 1
        await self.speaker.say(reply if self._errors < _ERROR_LIMIT else replies.TOO_MANY_ERRORS)

    def _look_for_credentials(self, line: bytes) -> None:
        """Count what should never have come in the clear: AUTH with its argument, or an answer to a prompt."""
        words = line.split()
        if self.wire.tls_version is not None or not words:
            return
        verb = words[0].upper()
        if (verb == b"AUTH" and len(words) > 2) or (verb not in self._commands and _BASE64.fullmatch(line)):
            self.state.counters.plaintext_credential_octets += len(line)

    async def _ehlo(self, argument: str) -> None:
        if not argument:
            await self._refuse(replies.NO_ARGUMENT)
            return
        occasion = self.occasion(Phase.EHLO)
        for action, keyword in _KEYWORDS.items():
            if self.state.faults.take(occasion, frozenset({action})) is not None:
                self.without.add(keyword)
        is_tls = self.wire.tls_version is not None
        reply = replies.hello(self.wire.peer, MAXIMUM_SIZE, is_tls=is_tls, without=self.without)
        if await self.speaker.step(occasion, reply) == 250:
            self._has_greeted, self._transaction = True, None

    async def _helo(self, argument: str) -> None:
        if not argument:
            await self._refuse(replies.NO_ARGUMENT)
        elif await self.speaker.step(self.occasion(Phase.EHLO), f"250 {replies.FRONT} Hello") == 250:
            self._has_greeted, self._transaction = True, None

    async def _starttls(self, argument: str) -> None:
        if argument or self.wire.tls_version is not None or "STARTTLS" in self.without:
            await self._refuse(replies.BAD_ARGUMENT if argument else replies.BAD_SEQUENCE)
            return
        if await self.speaker.step(self.occasion(Phase.STARTTLS), replies.STARTTLS_READY) != 220:
            return
        fault = self.speaker.ordered(self.occasion(Phase.TLS))
        flaw = fault.action if fault is not None and fault.action in CERTIFICATES else None
        await self.wire.flush()
        await self.speaker.before(fault)
        try:
            await self.wire.start_tls(self.state.authority.context(flaw))
        except Gone:
            self.state.counters.handshakes_failed += 1
            raise
        self.heard(f"<{self.wire.tls_version}>")
        # What was said in the clear counts for nothing (RFC 3207 §4.2).
        self._has_greeted, self._transaction = False, None

    async def _auth(self, argument: str) -> None:
        if self.wire.tls_version is None and "STARTTLS" not in self.without:
            await self._refuse(replies.STARTTLS_FIRST)
        elif not self._has_greeted:
            await self._refuse(replies.HELLO_FIRST)
        elif self.login is not None or self._transaction is not None:
            await self._refuse(replies.BAD_SEQUENCE)
        else:
            await SignIn(self).run(argument)

    async def _mail(self, argument: str) -> None:
        if self.wire.tls_version is None and "STARTTLS" not in self.without:
            await self._refuse(replies.STARTTLS_FIRST)
        elif not self._has_greeted:
            await self._refuse(replies.HELLO_FIRST)
        elif self._transaction is not None and self._transaction.has_sender:
            await self._refuse(replies.MAIL_TWICE)
        else:
            self._transaction = Transaction(self)
            await self._transaction.mail(argument)

    async def _rcpt(self, argument: str) -> None:
        if self._transaction is None:
            await self._refuse(replies.MAIL_FIRST)
        else:
            await self._transaction.rcpt(argument)

    async def _data(self, argument: str) -> None:
        if argument:
            await self._refuse(replies.BAD_ARGUMENT)
        elif self._transaction is None:
            await self._refuse(replies.MAIL_FIRST)
        elif await self._transaction.data():
            self._transaction = None

    async def _rset(self, _argument: str) -> None:
        self._transaction = None
        await self.speaker.step(self.occasion(Phase.RSET), replies.RESETTING)

    async def _noop(self, _argument: str) -> None:
        await self.speaker.step(self.occasion(Phase.NOOP), replies.NOOP_OK)

    async def _vrfy(self, _argument: str) -> None:
        await self.speaker.say(replies.CANNOT_VERIFY)

    async def _quit(self, _argument: str) -> None:
        # Before the reply, so that a client that opens the next session at once is not one too many.
        occasion = self.occasion(Phase.QUIT)
        self._leave()
        await self.speaker.step(occasion, replies.CLOSING)
        await self.speaker.cut(Action.CLOSE)

    async def _watch(self) -> None:
        """End the session when the client has been silent, or the session has lasted, for too long."""
        clock, limits = self.state.clock, self.state.exchange.limits
        never = float("inf")
        while True:
            now, since = clock.boot(), self.wire.waiting_since
            idle_left = (since if since is not None else now) + (limits.idle or never) - now
            age_left = self._opened + (limits.age or never) - now
            if since is not None and idle_left <= 0:
                await self._give_up(replies.IDLE_TOO_LONG)
                return
            if since is not None and age_left <= 0:
                minutes, seconds = divmod(int(now - self._opened), 60)
                lasted = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
                await self._give_up(f"421 4.4.1 Connection timed out. Total session duration: {lasted}")
                return
            wait = min(idle_left, age_left if age_left > 0 else 1.0)
            if wait == never:
                return
            await clock.sleep(wait)

    async def _give_up(self, reply: str) -> None:
        self.wire.queue(replies.encode(reply))
        await self.cut(Action.CLOSE)
