"""Runs uvicorn servers inside a loop that is somebody else's: bound sockets in, no signal handlers, a clean stop.

The sockets are bound before anything is recovered or sent, so that an address in use is told at once and harmlessly.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from app.web.server import BoundedProtocol

# Longer than the idle time-outs of the usual proxies (60 s), so that it is them who close, and no POST meets a reset.
_KEEP_ALIVE_SECONDS: Final = 75
_BACKLOG: Final = 2048


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio does not recognise it as such and leaves Nagle's delay of 40 ms between head and body.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: who starts it, stops it; ``is_up`` is set once it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """One application on one socket."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, drain_seconds: float, tls: tuple[str, str] | None
    ) -> None:
        """Prepare to serve ``app``; ``tls`` is certificate file and key file."""
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
            ssl_context_factory=_modern if tls else None,
        )
        self._server = _QuietServer(config)
        self._socket = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="web.listener")
        up = asyncio.create_task(self._server.is_up.wait())
        await asyncio.wait({up, self._task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stop listening, let requests under way end, close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


def _modern(_config: uvicorn.Config, default: object) -> ssl.SSLContext:
    context: ssl.SSLContext = default()  # type: ignore[operator]
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
