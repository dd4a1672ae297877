"""A submission server that is not ours: aiosmtpd on loopback, STARTTLS and AUTH required, messages kept.

``with AiosmtpdServer(tls) as server:`` runs it in a thread of its own (its TLS needs asyncio's own loop, whatever loop
the test runs on). ``tls`` is the server's context, from a trustme authority. What it took is in ``messages``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.smtp_thread import SmtpThread

USERS = {"noreply@example.com": "correct-horse-battery"}


@dataclass(frozen=True)
class Stored:
    """A message as it arrived: transparency undone, everything else untouched."""

    login: str
    return_path: str
    recipients: tuple[str, ...]
    content: bytes
    mail_options: tuple[str, ...]


class AiosmtpdServer(SmtpThread):
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
        super().__init__("aiosmtpd")
        self._tls = tls
        self._users = dict(users)
        self._without = {"LOGIN", "PLAIN"} - set(mechanisms)
        self._is_pipelining = pipelining
        self._refuse = dict(refuse or {})
        self.host = "localhost"
        self.messages: list[Stored] = []
        self.sign_ins: list[tuple[str, str, bool]] = []  # mechanism, user, whether it succeeded

    def made(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        return SMTP(
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
            loop=loop,
        )

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
