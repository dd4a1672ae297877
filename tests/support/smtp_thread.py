"""An aiosmtpd server in a thread of its own, whatever loop the test runs on; every link is cut when the block ends."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import Self

from aiosmtpd.smtp import SMTP


class SmtpThread(ABC):
    """``with`` starts it on loopback, at ``port``, and ends it. ``made`` makes the protocol of one connection."""

    def __init__(self, name: str) -> None:
        self.port = 0
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._protocols: list[SMTP] = []

    @abstractmethod
    def made(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        """Return the protocol of one connection."""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()

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
        # Aborted transports tell their protocols in the loop's next rounds.
        await asyncio.sleep(0.01)

    def _protocol(self) -> SMTP:
        self._protocols.append(self.made(self._loop))
        return self._protocols[-1]
