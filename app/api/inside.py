"""Lets this very process call one of its own doors, without a key and without a socket: the caller is already inside.

The command line does so while no service runs: it holds the store's lock, so nobody else can be asked. The routes, and
so what each command does and answers, are the same either way.
"""

from __future__ import annotations

from typing import Any, Final

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from app.kit.ids import new_id
from app.web.body import Body, BodyLimits, Memory
from app.web.call import Call, keep_call
from app.web.keys import Found

_LIMITS: Final = BodyLimits(body=0, memory=0, timeout=0.0)


class Inside:
    """A door for one caller inside; ``who`` is what the audit tells of him."""

    def __init__(self, app: ASGIApp, who: str) -> None:
        self._app = app
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on as the caller's own (ASGI)."""
        headers = dict(scope["headers"])
        declared = int(headers.get(b"content-length", b"0"))
        body = Body(receive, declared, _LIMITS, Memory(0))
        call = Call(new_id("req"), 0.0, "", headers, body, found=Found(None, self._who, False, frozenset()))
        keep_call(scope, call)
        await self._app(scope, receive, send)

    async def ask(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and document of the answer to a request; ``body`` None: none is sent."""
        transport = httpx.ASGITransport(self)
        async with httpx.AsyncClient(transport=transport, base_url="http://postroom.internal", timeout=None) as client:  # noqa: S113 - nothing to wait for but ourselves
            answer = await client.request(method, path, params=query, json=body)
        return answer.status_code, answer.json()
