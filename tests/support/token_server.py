"""A token endpoint on loopback for tests: issues tokens, or answers what a script says, and keeps every request.

Plain asyncio, so that a test can order what no framework would do: silence, half an answer, garbage, megabytes. Each
scripted answer serves one request; without a script every request gets a new token.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer. ``raw`` replaces everything; ``hold`` keeps the answer back until ``release`` of the server.

    ``cut`` closes the connection after so many octets of the answer, ``pace`` is the seconds between two octets, and an
    ``endless`` answer goes on until the client leaves. ``echo`` puts the request's form wherever an error has text.
    """

    status: int = 200
    document: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hold: bool = False
    cut: int | None = None
    pace: float = 0
    endless: bool = False
    echo: bool = False


def refusal(code: int, error: str = "invalid_client", status: int = 401, text: str = "Something is wrong.") -> Answer:
    """Return a refusal in the shape of Entra's."""
    trace, correlation = "0000aaaa-11bb-cccc-dd33-eeeeee333333", "aaaa0000-bb11-2222-33cc-444444dddddd"
    description = (
        f"AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: 2026-11-23 12:00:00Z"
    )
    document = {
        "error": error,
        "error_description": description,
        "error_codes": [code],
        "timestamp": "2026-11-23 12:00:00Z",
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }
    return Answer(status, document)


class TokenServer:
    """See the module's promise. ``life`` of the tokens in seconds; ``rotates``: each refresh brings a new token."""

    def __init__(self, life: float = 3600, rotates: bool = True) -> None:
        self.life = life
        self.rotates = rotates
        self.requests: list[Request] = []
        self.script: deque[Answer] = deque()
        self.always: Answer | None = None
        self.tokens: list[str] = []
        self.refresh_tokens: list[str] = []
        self.url = ""
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def release(self) -> None:
        """Let the answers go that are held back."""
        self._released.set()

    @property
    def secrets(self) -> list[str]:
        """Everything issued that must not appear anywhere."""
        return self.tokens + self.refresh_tokens

    def _issue(self, request: Request) -> Answer:
        self.tokens.append(f"access-token-{len(self.tokens) + 1}-{'x' * 40}")
        document: dict[str, Any] = {"token_type": "Bearer", "expires_in": self.life, "access_token": self.tokens[-1]}
        if request.form.get("grant_type") == "refresh_token" and self.rotates:
            self.refresh_tokens.append(f"refresh-token-{len(self.refresh_tokens) + 1}-{'y' * 40}")
            document["refresh_token"] = self.refresh_tokens[-1]
        return Answer(200, document)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = await _read(reader)
            if request is None:
                return
            self.requests.append(request)
            answer = self.script.popleft() if self.script else self.always or self._issue(request)
            if answer.echo:
                answer = replace(answer, document=_echo(request))
            if answer.hold:
                await self._released.wait()
            await _send(writer, answer)
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            return  # the client has gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()

    async def stop(self) -> None:
        """End what is still held back."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[TokenServer]:
        """Serve at ``url`` while the context is open."""
        server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{port}"
        try:
            yield self
        finally:
            server.close()
            await self.stop()
            await server.wait_closed()


def _echo(request: Request) -> dict[str, str]:
    said = str(dict(request.form))
    return {
        "error": "invalid_client",
        "error_description": f"AADSTS7000215: {said} {urlencode(request.form)}",
        "trace_id": said,
        "correlation_id": urlencode(request.form),
    }


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    octets = (answer.raw if answer.raw is not None else _octets(answer))[: answer.cut]
    if not answer.pace:
        writer.write(octets)
    for number in range(len(octets) if answer.pace else 0):
        writer.write(octets[number : number + 1])
        await asyncio.sleep(answer.pace)
    while answer.endless:
        writer.write(b" " * 16_384)
        await writer.drain()
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, dict(parse_qsl(body.decode("ascii"), strict_parsing=bool(body))))


def _octets(answer: Answer) -> bytes:
    body = answer.body if answer.body is not None else json.dumps(answer.document).encode()
    headers = {"content-type": "application/json; charset=utf-8", **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {answer.status} X\r\n{lines}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
    )
