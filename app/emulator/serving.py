"""Serves one ASGI app on any number of listening sockets of the running loop, with uvicorn's protocol.

uvicorn's own ``Server`` is not used: it owns a process, with signals and a tick that delays every start and stop by a
tenth of a second, and a test starts hundreds of emulators.
"""

from __future__ import annotations

import asyncio
import ssl

from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


class HttpServer:
    """Listens, and ends every connection when closed."""

    def __init__(self, app: Starlette) -> None:
        self._config = Config(
            app,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        self._config.load()
        self._connections = ServerState()
        self._servers: list[asyncio.Server] = []

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen on one more port (0: any that is free) and return it; raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._protocol, host, port, ssl=tls)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more and end every connection; requests at work see their client leave."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in list(self._connections.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        tasks = list(self._connections.tasks)
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # lets the aborted transports close

    def _protocol(self) -> asyncio.Protocol:
        return H11Protocol(config=self._config, server_state=self._connections, app_state={})
