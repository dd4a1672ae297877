"""The emulator as an object: listens for SMTP and HTTP, holds the state, and lets a test look at everything.

``async with Emulator() as emu:`` opens it on free ports of the loopback; leaving the block ends every session at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from app.emulator import replies
from app.emulator.accounts import DEFAULT_ACCOUNT, Account, Accounts, canonical
from app.emulator.clock import MovableClock
from app.emulator.counters import Counters
from app.emulator.entra import TokenFault
from app.emulator.exchange import Exchange, Limits
from app.emulator.faults import Action, Fault, FaultBook, Phase
from app.emulator.http import build_app
from app.emulator.inbox import Inbox, Received
from app.emulator.serving import HttpServer
from app.emulator.session import Session
from app.emulator.state import State
from app.emulator.tls import LOOPBACK_NAMES, Authority
from app.emulator.tokens import DEFAULT_APP, App, Tokens
from app.emulator.transcript import Heard, Transcript
from app.emulator.wire import Wire
from app.kit.clock import Clock, SystemClock

SESSION_LIMIT = 1000  # all mailboxes together; beyond, 421
_BUFFER = 1024 * 1024


class Emulator:
    """An Exchange Online look-alike.

    ``accounts`` None: the documented default account; ``apps`` None: the documented default app. ``names`` are put
    into the certificate besides those of the loopback. ``clock`` is the clock that the emulator's own, movable one is
    laid over. ``messages`` and ``memory`` (octets) bound what is kept. Ports of 0 are chosen at the start and kept
    when it starts again.
    """

    def __init__(
        self,
        accounts: Iterable[Account] | None = None,
        *,
        faults: Iterable[Fault | TokenFault] = (),
        limits: Limits | None = None,
        apps: Iterable[App] | None = None,
        latency: Mapping[Phase, float] | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int = 0,
        https_port: int = 0,
        names: Iterable[str] = (),
        messages: int = 10_000,
        memory: int = 512 * 1024 * 1024,
    ) -> None:
        self.host = host
        self.port = port
        self.http_port = http_port
        self.https_port = https_port
        machine = SystemClock()
        movable = MovableClock(clock or machine)
        self.state = State(
            clock=movable,
            accounts=Accounts([DEFAULT_ACCOUNT] if accounts is None else accounts),
            # Clients verify certificates by the machine's time, whatever a test does to the clock.
            authority=Authority(machine.now(), (*LOOPBACK_NAMES, *names)),
            exchange=Exchange(limits or Limits(), movable),
            faults=FaultBook(),
            inbox=Inbox(movable, messages=messages, memory=memory),
            tokens=Tokens([DEFAULT_APP] if apps is None else apps, movable),
            transcript=Transcript(movable),
            latency=dict(latency or {}),
        )
        for fault in faults:
            self.order(fault)
        self._http = HttpServer(build_app(self.state))
        self._server: asyncio.Server | None = None
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._last_session = 0

    async def start(self) -> None:
        """Listen; raises OSError where a port is taken."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=_BUFFER)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            self.http_port = await self._http.listen(self.host, self.http_port)
            self.https_port = await self._http.listen(self.host, self.https_port, self.state.authority.context())
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Listen no more and end every session at once; what arrived stays readable."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._sessions.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.close()

    async def __aenter__(self) -> Emulator:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<Emulator {self.host}:{self.port} {len(self._sessions)} sessions, {len(self.state.inbox)} messages>"

    @property
    def http_url(self) -> str:
        """The HTTP side's base address."""
        return f"http://{_url_host(self.host)}:{self.http_port}"

    @property
    def https_url(self) -> str:
        """The same over TLS, with a certificate of the same authority."""
        return f"https://{_url_host(self.host)}:{self.https_port}"

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority, in PEM."""
        return self.state.authority.pem

    @property
    def clock(self) -> MovableClock:
        """The emulator's clock; ``advance`` moves it."""
        return self.state.clock

    @property
    def accounts(self) -> Accounts:
        """The accounts; ``add`` one at any time."""
        return self.state.accounts

    @property
    def faults(self) -> FaultBook:
        """The faults of the SMTP side on order."""
        return self.state.faults

    @property
    def tokens(self) -> Tokens:
        """The token endpoint; its ``faults`` are its own."""
        return self.state.tokens

    @property
    def counters(self) -> Counters:
        """What was counted."""
        return self.state.counters

    @property
    def limits(self) -> Limits:
        """The limits at work; may be replaced at any time."""
        return self.state.exchange.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.state.exchange.limits = limits

    @property
    def messages(self) -> list[Received]:
        """Every message that came to its dot, taken or not, in order."""
        return list(self.state.inbox)

    @property
    def accepted(self) -> list[Received]:
        """The messages that were taken."""
        return [message for message in self.state.inbox if message.accepted]

    @property
    def transcript(self) -> list[Heard]:
        """What the clients said, in order."""
        return list(self.state.transcript)

    def order(self, fault: Fault | TokenFault) -> None:
        """Order a fault, of the SMTP side or of the token endpoint."""
        if isinstance(fault, Fault):
            self.state.faults.add(fault)
        else:
            self.state.tokens.faults.add(fault)

    async def wait_for(self, accepted: int, seconds: float = 5.0) -> list[Received]:
        """Wait until so many messages have been taken and return them; raises TimeoutError."""
        return await self.state.inbox.wait_for(accepted, seconds)

    async def cut_sessions(self, how: Action = Action.CLOSE, login: str | None = None) -> int:
        """End the open sessions (of one login) by ``close``, ``drop`` or ``truncate-tls``; return how many."""
        concerned = [session for session in self._sessions if login is None or session.login == canonical(login)]
        for session in concerned:
            await session.cut(how)
        return len(concerned)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer, self.state.clock)
        if len(self._sessions) >= SESSION_LIMIT:
            self.state.counters.sessions_refused += 1
            writer.write(replies.encode(replies.TOO_MANY_SESSIONS))
            writer.close()
            return
        self._last_session += 1
        session = Session(self.state, wire, self._last_session)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._sessions[session] = task
        try:
            await session.run()
        except asyncio.CancelledError:
            pass  # stop() ends sessions this way; nobody awaits a connection's task but stop()
        finally:
            del self._sessions[session]
            wire.release()


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
