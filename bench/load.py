"""Makes HTTP load, in a process of its own: raw keep-alive connections, so that asking is cheaper than answering.

Two ways: *closed* (each of N clients asks again when it has its answer) and *open* (so many requests a second, whatever
the answers do; the time of a request then runs from the instant it was due). Each request carries a number of fixed
width in place of ``@`` characters, twelve digits, so that a body's length never changes.
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import uvloop

from bench.lines import obey

_PLACE = "@" * 12
_PATIENCE = 120.0


class Requests:
    """Requests ready to be written, all alike but for their number; ``attachment`` octets go in as base64."""

    def __init__(self, port: int, paths: list[str], key: str, body: str | None, attachment: int) -> None:
        method = "GET" if body is None else "POST"
        head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        text = (body or "").replace("$attachment", _letters(attachment))
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        self._starts = [f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() for path in paths]
        before, _, after = text.partition(_PLACE)
        self._before, self._after = before.encode(), after.encode()
        self._is_numbered = _PLACE in text

    def make(self, number: int) -> bytes:
        """Return the request of a number."""
        start = self._starts[number % len(self._starts)]
        if not self._is_numbered:
            return start + self._before
        return b"%s%s%012d%s" % (start, self._before, number, self._after)


def _letters(octets: int) -> str:
    return base64.b64encode(os.urandom(octets)).decode() if octets else ""


class Run:
    """What one command measures. Instants are those of ``time.monotonic``."""

    def __init__(self, requests: Requests, first: int) -> None:
        self.requests = requests
        self.numbers: Iterator[int] = count(first)
        self.statuses: Counter[int] = Counter()
        self.begun: list[tuple[int, float]] = []
        self.ended: list[float] = []
        self.seconds: list[float] = []
        self.is_over = asyncio.Event()
        self.open = 0

    def note(self, number: int, began: float, status: int) -> None:
        """Note an answer."""
        now = time.monotonic()
        self.statuses[status] += 1
        self.begun.append((number, began))
        self.ended.append(now)
        self.seconds.append(now - began)
        self.open -= 1

    def told(self, warm_until: float, stamps: bool) -> dict[str, Any]:
        """Return the figures of the answers that came after ``warm_until``."""
        counted = [seconds for ended, seconds in zip(self.ended, self.seconds, strict=True) if ended >= warm_until]
        began = max(warm_until, min((at for _, at in self.begun), default=0.0))
        span = max(self.ended, default=0.0) - began
        told: dict[str, Any] = {
            "count": len(counted),
            "rate": len(counted) / span if span > 0 else 0.0,
            "began": began,
            "ended": max(self.ended, default=0.0),
            "p50": percentile(counted, 0.50),
            "p95": percentile(counted, 0.95),
            "p99": percentile(counted, 0.99),
            "max": max(counted, default=0.0),
            "statuses": {str(status): times for status, times in self.statuses.items()},
        }
        if stamps:
            told["stamps"] = [(f"{number:012d}", at) for number, at in self.begun]
        return told


def percentile(values: list[float], share: float) -> float:
    """Return the least value that so large a share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


class Client(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: Any = None
        self._buffer = b""
        self._number = 0
        self._began = 0.0
        self._is_waiting = False
        self.after: Any = None  # called after each answer

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, number: int, began: float) -> None:
        """Send the request of a number."""
        self._number, self._began, self._is_waiting = number, began, True
        self._run.open += 1
        self._transport.write(self._run.requests.make(number))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._answered(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._is_waiting:
            self._answered(0)

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._is_waiting

    def _answered(self, status: int) -> None:
        self._is_waiting = False
        self._run.note(self._number, self._began, status)
        self.after(self)

    def close(self) -> None:
        """Let the connection go."""
        if self._transport is not None:
            self._transport.close()


async def closed(
    port: int,
    clients: int,
    paths: list[str],
    key: str = "",
    body: str | None = None,
    attachment: int = 0,
    seconds: float = 0.0,
    requests: int = 0,
    warm: float = 0.0,
    first: int = 0,
    stamps: bool = False,
) -> dict[str, Any]:
    """Let N clients ask for so long, or so many requests; what is answered within ``warm`` seconds is not counted."""
    run = Run(Requests(port, paths, key, body, attachment), first)
    loop = asyncio.get_running_loop()
    everyone = [(await loop.create_connection(lambda: Client(run), "127.0.0.1", port))[1] for _ in range(clients)]
    start = time.monotonic()
    until = start + warm + seconds if seconds else math.inf
    last = first + requests if requests else math.inf

    def again(client: Client) -> None:
        number = next(run.numbers)
        now = time.monotonic()
        if number < last and now < until and client.is_usable:
            client.ask(number, now)
        elif not run.open:
            run.is_over.set()

    for client in everyone:
        client.after = again
        again(client)
    await asyncio.wait_for(run.is_over.wait(), _PATIENCE + seconds)
    for client in everyone:
        client.close()
    return run.told(start + warm if warm else 0.0, stamps)


async def steady(
    port: int,
    rate: float,
    seconds: float,
    paths: list[str],
    key: str = "",
    body: str | None = None,
    first: int = 0,
    stamps: bool = True,
) -> dict[str, Any]:
    """Ask so many times a second for so long, over as many connections as that takes."""
    run = Run(Requests(port, paths, key, body, 0), first)
    loop = asyncio.get_running_loop()
    idle: list[Client] = []
    everyone: list[Client] = []
    start = time.monotonic() + 0.05
    total = round(rate * seconds)
    for number in range(total):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        while idle and not idle[-1].is_usable:
            idle.pop()
        if idle:
            client = idle.pop()
        else:
            client = (await loop.create_connection(lambda: Client(run), "127.0.0.1", port))[1]
            client.after = idle.append
            everyone.append(client)
        client.ask(first + number, due)
    end = time.monotonic() + _PATIENCE
    while run.open and time.monotonic() < end:
        await asyncio.sleep(0.01)
    for client in everyone:
        client.close()
    return run.told(0.0, stamps)


if __name__ == "__main__":
    uvloop.run(obey({}, {"closed": closed, "steady": steady}))
