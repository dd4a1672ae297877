"""Where the servers pass on what they took: aiosmtpd on loopback, which keeps every envelope and every octet.

``with Sink() as sink:`` runs it in a thread of its own. It asks for no sign-in and no TLS: it stands behind the server
that is tested, as the next hop.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.smtp_thread import SmtpThread

ROOM = 64 * 1024 * 1024


@dataclass(frozen=True)
class Arrived:
    """One transaction as the next hop saw it."""

    return_path: str
    recipients: tuple[str, ...]
    content: bytes


class Sink(SmtpThread):
    """See the module's promise."""

    def __init__(self) -> None:
        super().__init__("sink")
        self._arrived: list[Arrived] = []
        self._changed = threading.Condition()

    def take(self, recipients: int, seconds: float) -> list[Arrived]:
        """Return what arrived, and forget it, once so many recipients have been named; fail when time is up."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._named() >= recipients, seconds)
            assert done, f"{self._named()} of {recipients} recipients after {seconds} s"
            found, self._arrived = self._arrived, []
        return found

    def _named(self) -> int:
        return sum(len(each.recipients) for each in self._arrived)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        with self._changed:
            self._arrived.append(Arrived(envelope.mail_from or "", tuple(envelope.rcpt_tos), content))
            self._changed.notify_all()
        return "250 2.0.0 kept"

    def made(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        return SMTP(self, hostname="sink.test", ident="ready", enable_SMTPUTF8=True, data_size_limit=ROOM, loop=loop)
