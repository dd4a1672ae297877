"""Where the servers pass on what they took: aiosmtpd on loopback, which keeps every envelope and every octet.

``with Sink() as sink:`` runs it in a thread of its own. It asks for no sign-in and no TLS: it stands behind the server
that is tested, as the next hop.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session

ROOM = 64 * 1024 * 1024


@dataclass(frozen=True)
class Arrived:
    """One transaction as the next hop saw it."""

    return_path: str
    recipients: tuple[str, ...]
    content: bytes


class Sink:
    """See the module's promise."""

    def __init__(self) -> None:
        self.port = 0
        self._arrived: list[Arrived] = []
        self._changed = threading.Condition()
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._protocols: list[SMTP] = []

    def __enter__(self) -> Sink:
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()

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

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(self._protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for protocol in self._protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        # Aborted transports tell their protocols in the loop's next round.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _protocol(self) -> SMTP:
        made = SMTP(
            self, hostname="sink.test", ident="ready", enable_SMTPUTF8=True, data_size_limit=ROOM, loop=self._loop
        )
        self._protocols.append(made)
        return made
