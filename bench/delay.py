"""A wire with a round-trip time, for small mail: a TCP proxy that hands octets on half a round trip later, both ways.

A process of its own between client and sink, below TLS, so that handshakes pay their round trips as well; the sink is
reached one round trip after a connection was accepted, as if that had taken SYN and its answer. Bandwidth is not
limited and nothing is held back. The loop selects with ``select``, whose time-outs have microseconds (``epoll`` rounds
up to a millisecond, a tenth of the shortest way here).
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
from collections import deque
from typing import Any

from bench.lines import obey


class Way:
    """One direction of a connection: octets in their order, each so late after it came."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self.to: Any = None

    def put(self, data: bytes | None, seconds: float) -> None:
        """Take octets (None: the end)."""
        self._queue.append((self._loop.time() + seconds, data))
        if len(self._queue) == 1:
            self._loop.call_at(self._queue[0][0], self._pass_on)

    def _pass_on(self) -> None:
        now = self._loop.time()
        while self._queue and self._queue[0][0] <= now + 2e-5:
            data = self._queue.popleft()[1]
            if self.to is not None and not self.to.is_closing():
                self.to.write(data) if data is not None else self.to.close()
        if self._queue:
            self._loop.call_at(self._queue[0][0], self._pass_on)


class End(asyncio.Protocol):
    """One end of a connection; what it hears goes on its way."""

    def __init__(self, wire: Wire, ahead: Way, back: Way, *, is_client: bool) -> None:
        self._wire = wire
        self._ahead = ahead
        self._back = back
        self._is_client = is_client

    def connection_made(self, transport: Any) -> None:
        self._back.to = transport
        if self._is_client:
            self._wire.reach(self._ahead, self._back)

    def data_received(self, data: bytes) -> None:
        self._ahead.put(data, self._wire.rtt / 2)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ahead.put(None, self._wire.rtt / 2)


class Wire:
    """The proxy; ``rtt`` in seconds."""

    def __init__(self, port: int) -> None:
        self.rtt = 0.0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    def set(self, rtt: float) -> dict[str, Any]:
        """Change the round-trip time for what comes from now on."""
        self.rtt = rtt
        return {}

    def accept(self) -> End:
        """Make the near end of a connection."""
        return End(self, Way(), Way(), is_client=True)

    def reach(self, ahead: Way, back: Way) -> None:
        """Connect to the sink, one round trip later."""
        task = asyncio.get_running_loop().create_task(self._connect(ahead, back))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, ahead: Way, back: Way) -> None:
        await asyncio.sleep(self.rtt)
        far = End(self, back, ahead, is_client=False)
        await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self._port)


async def main(port: int) -> None:
    """Listen on a free port of 127.0.0.1 for connections to ``port``."""
    wire = Wire(port)
    server = await asyncio.get_running_loop().create_server(wire.accept, "127.0.0.1", 0)
    await obey({"port": server.sockets[0].getsockname()[1]}, {"set": wire.set})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(main(parser.parse_args().to))
