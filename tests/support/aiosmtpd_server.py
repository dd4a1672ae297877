"""A submission server that is not ours: aiosmtpd on loopback, STARTTLS and AUTH required, messages kept.

``with AiosmtpdServer(tls) as server:`` runs it in a thread of its own (its TLS needs asyncio's own loop, whatever loop
the test runs on). ``tls`` is the server's context, from a trustme authority. What it took is in ``messages``.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USERS = {"noreply@example.com": "correct-horse-battery"}


@dataclass(frozen=True)
class Stored:
    """A message as it arrived: transparency undone, everything else untouched."""

    login: str
    return_path: str
    recipients: tuple[str, ...]
    content: bytes
    mail_options: tuple[str, ...]


class AiosmtpdServer:
    """See the module's promise. ``refuse`` maps a recipient to the reply it gets."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        users: Mapping[str, str] = USERS,
        mechanisms: Collection[str] = ("LOGIN", "PLAIN"),
        pipelining: bool = True,
        refuse: Mapping[str, str] | None = None,
    ) -> None:
        self._tls = tls
        self._users = dict(users)
        self._without = {"LOGIN", "PLAIN"} - set(mechanisms)
        self._is_pipelining = pipelining
        self._refuse = dict(refuse or {})
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="aiosmtpd", daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self.host = "localhost"
        self.port = 0
        self.messages: list[Stored] = []
        self.sign_ins: list[tuple[str, str, bool]] = []  # mechanism, user, whether it succeeded

    def __enter__(self) -> AiosmtpdServer:
        self._thread.start()
        assert self._started.wait(5.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5.0)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        protocols: list[SMTP] = []

        def protocol() -> SMTP:
            made = SMTP(
                _Handler(self),
                hostname="aiosmtpd.example",
                ident="ready",
                tls_context=self._tls,
                require_starttls=True,
                auth_required=True,
                auth_require_tls=True,
                authenticator=self._authenticate,
                auth_exclude_mechanism=self._without,
                enable_SMTPUTF8=True,
                data_size_limit=64 * 1024 * 1024,
                loop=self._loop,
            )
            protocols.append(made)
            return made

        server = await self._loop.create_server(protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for made in protocols:
            if made.transport is not None:
                made.transport.abort()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0.01)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
    ) -> AuthResult:
        assert isinstance(auth_data, LoginPassword)
        user, password = auth_data.login.decode(), auth_data.password.decode()
        is_right = self._users.get(user) == password
        self.sign_ins.append((mechanism, user, is_right))
        return AuthResult(success=is_right, handled=False, auth_data=user)


class _Handler:
    def __init__(self, owner: AiosmtpdServer) -> None:
        self._owner = owner

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if self._owner._is_pipelining:
            responses.insert(1, "250-PIPELINING")
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._owner._refuse:
            return self._owner._refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        self._owner.messages.append(
            Stored(
                login=str(session.auth_data),
                return_path=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=content if isinstance(content, bytes) else (content or "").encode(),
                mail_options=tuple(envelope.mail_options),
            )
        )
        return f"250 2.0.0 OK {len(self._owner.messages)}"
