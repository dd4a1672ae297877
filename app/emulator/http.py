"""The emulator's HTTP side: what arrived, faults, counters, accounts, clock, and Entra's token endpoint.

For people and tests on the same machine: no sign-in, plain JSON. Bodies over 1 MiB are refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.emulator.content import readable
from app.emulator.entra import EntraRefusal, TokenAction, TokenFault, error_document
from app.emulator.faults import Fault
from app.emulator.inbox import Received
from app.emulator.loading import account_of, app_of, fault_of, latency_of
from app.emulator.state import State

BODY_LIMIT = 1024 * 1024
_RAW = "message/rfc822"
_PROXY_PAGE = "<html><head><title>Sign in to the network</title></head><body>Please accept the terms.</body></html>"


def build_app(state: State) -> Starlette:
    """Return the app over a state."""
    doors = _Doors(state)
    return Starlette(
        routes=[
            Route("/", doors.index),
            Route("/messages", doors.list_messages, methods=["GET"]),
            Route("/messages", doors.forget_messages, methods=["DELETE"]),
            Route("/messages/{number:int}", doors.one_message, methods=["GET"]),
            Route("/messages/{number:int}/raw", doors.raw_message, methods=["GET"]),
            Route("/transcript", doors.transcript, methods=["GET"]),
            Route("/faults", doors.list_faults, methods=["GET"]),
            Route("/faults", doors.order_faults, methods=["POST"]),
            Route("/faults", doors.clear_faults, methods=["DELETE"]),
            Route("/latency", doors.set_latency, methods=["POST"]),
            Route("/accounts", doors.add_account, methods=["POST"]),
            Route("/apps", doors.register_app, methods=["POST"]),
            Route("/clock", doors.move_clock, methods=["POST"]),
            Route("/reset", doors.reset, methods=["POST"]),
            Route("/counters", doors.counters, methods=["GET"]),
            Route("/ca.pem", doors.authority, methods=["GET"]),
            Route("/{directory}/oauth2/v2.0/token", doors.token, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _problem},
    )


async def _problem(_request: Request, problem: Exception) -> Response:
    status, detail = (problem.status_code, problem.detail) if isinstance(problem, HTTPException) else (500, "")
    return JSONResponse({"error": detail}, status)


class _Doors:
    """One method a route."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def index(self, _request: Request) -> Response:
        """Say where everything is."""
        messages = ["/messages", "/messages/{number}/raw", "/transcript", "/counters"]
        orders = ["/faults", "/latency", "/accounts", "/apps", "/clock", "/reset"]
        rest = ["/ca.pem", "/{directory}/oauth2/v2.0/token"]
        return JSONResponse({"emulator": "Exchange Online look-alike", "see": [*messages, *orders, *rest]})

    async def list_messages(self, _request: Request) -> Response:
        """List what arrived."""
        return JSONResponse([_described(message) for message in self._state.inbox])

    async def forget_messages(self, _request: Request) -> Response:
        """Forget what arrived."""
        self._state.inbox.clear()
        return Response(status_code=204)

    async def one_message(self, request: Request) -> Response:
        """Describe one message."""
        return JSONResponse(_described(self._message(request)))

    async def raw_message(self, request: Request) -> Response:
        """Return one message as it came."""
        return Response(self._message(request).raw, media_type=_RAW)

    async def transcript(self, _request: Request) -> Response:
        """Tell what the clients said."""
        heard = self._state.transcript
        return JSONResponse([{"at": line.at.isoformat(), "session": line.session, "what": line.what} for line in heard])

    async def list_faults(self, _request: Request) -> Response:
        """List the faults on order."""
        faults: list[Fault | TokenFault] = [*self._state.faults, *self._state.tokens.faults]
        return JSONResponse([_told(fault) for fault in faults])

    async def order_faults(self, request: Request) -> Response:
        """Order one fault, or a list of them; all or none."""
        body = await _json(request)
        ordered = [_or_400(fault_of, table) for table in (body if isinstance(body, list) else [body])]
        for fault in ordered:
            if isinstance(fault, Fault):
                self._state.faults.add(fault)
            else:
                self._state.tokens.faults.add(fault)
        return JSONResponse([_told(fault) for fault in ordered], 201)

    async def clear_faults(self, _request: Request) -> Response:
        """Order nothing any more."""
        self._state.faults.clear()
        self._state.tokens.faults.clear()
        return Response(status_code=204)

    async def set_latency(self, request: Request) -> Response:
        """Set the seconds before each reply of a phase; phases left out answer at once."""
        latency = _or_400(latency_of, await _json(request))
        self._state.latency.clear()
        self._state.latency.update(latency)
        return Response(status_code=204)

    async def add_account(self, request: Request) -> Response:
        """Add an account, in place of an earlier one with the same address."""
        account = _or_400(account_of, await _json(request))
        self._state.accounts.add(account)
        return JSONResponse({"address": account.address, "send_as": list(account.send_as)}, 201)

    async def register_app(self, request: Request) -> Response:
        """Register an app, in place of an earlier one with the same client_id."""
        app = _or_400(app_of, await _json(request))
        self._state.tokens.register(app)
        return JSONResponse({"client_id": app.client_id, "mailboxes": list(app.mailboxes)}, 201)

    async def move_clock(self, request: Request) -> Response:
        """Move the emulator's clock forward by ``advance`` seconds."""
        body = await _json(request)
        seconds = body.get("advance") if isinstance(body, dict) else None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise HTTPException(400, 'the body is {"advance": SECONDS}')
        _or_400(self._state.clock.advance, seconds)
        return JSONResponse({"now": self._state.clock.now().isoformat()})

    async def reset(self, _request: Request) -> Response:
        """Forget messages, faults, counts and throttles."""
        self._state.reset()
        return Response(status_code=204)

    async def counters(self, _request: Request) -> Response:
        """Return what was counted."""
        return JSONResponse(self._state.counters.as_dict())

    async def authority(self, _request: Request) -> Response:
        """Return the certificate to trust."""
        return Response(self._state.authority.pem, media_type="application/x-pem-file")

    async def token(self, request: Request) -> Response:
        """Answer a token request as Entra does (RFC 6749 §5), or as was ordered."""
        state, directory = self._state, request.path_params["directory"]
        form = dict(parse_qsl((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True))
        state.counters.token_requests += 1
        fault = state.tokens.faults.take(form.get("client_id", ""), directory)
        if fault is not None:
            state.counters.faults += 1
            ordered = await self._ordered(request, fault)
            if ordered is not None:
                return ordered
        try:
            answer = state.tokens.grant(directory, form, str(request.url), life=fault.life if fault else None)
        except EntraRefusal as refusal:
            return self._refusal(refusal.code)
        state.counters.token_results["issued"] += 1
        if fault is not None and fault.action is TokenAction.HALF_ANSWER:
            return _HalfAnswer(json.dumps(answer).encode())
        return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    async def _ordered(self, request: Request, fault: TokenFault) -> Response | None:
        """Perform a fault; None where the request is then answered as usual."""
        results = self._state.counters.token_results
        if fault.aadsts is not None:
            return self._refusal(fault.aadsts)
        if fault.status is not None:
            results[str(fault.status)] += 1
            wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return JSONResponse({"error": "temporarily_unavailable"}, fault.status, headers=wait)
        match fault.action:
            case TokenAction.STALL:
                if await _has_left(request, self._state, fault.seconds):
                    return Response(status_code=499)  # nobody reads it
            case TokenAction.CLOSE:
                results["closed"] += 1
                return _HalfAnswer(b"")
            case TokenAction.PROXY_PAGE:
                results["proxy-page"] += 1
                return HTMLResponse(_PROXY_PAGE)
        return None

    def _refusal(self, code: int) -> Response:
        self._state.counters.token_results[f"AADSTS{code}"] += 1
        status, document = error_document(code, self._state.clock.now())
        return JSONResponse(document, status, headers={"Cache-Control": "no-store"})

    def _message(self, request: Request) -> Received:
        message = self._state.inbox.find(request.path_params["number"])
        if message is None:
            raise HTTPException(404, "no such message; it may have been forgotten to make room")
        return message


class _HalfAnswer(Response):
    """Half of a body under the length of all of it; uvicorn then ends the connection."""

    async def __call__(self, _scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Send the half (ASGI)."""
        body = bytes(self.body)
        length = str(max(2, len(body))).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


async def _has_left(request: Request, state: State, seconds: float | None) -> bool:
    """Let time go by (None: for ever); say whether the client has left meanwhile."""
    left = asyncio.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()

    watcher = asyncio.create_task(watch())
    try:
        return await state.clock.wait(left, seconds)
    finally:
        watcher.cancel()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise HTTPException(413, "the body is larger than 1 MiB")
    return bytes(body)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await _body(request))
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None


def _or_400(read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except ValueError as problem:
        raise HTTPException(400, str(problem)) from None


def _described(message: Received) -> dict[str, Any]:
    described = {each.name: getattr(message, each.name) for each in fields(message) if each.name != "raw"}
    described["rcpt_tos"] = list(message.rcpt_tos)
    described["at"] = message.at.isoformat()
    described["subject"] = readable(message.subject) if message.subject is not None else None
    return described | {"size": len(message.raw), "raw": f"/messages/{message.number}/raw"}


def _told(fault: Fault | TokenFault) -> dict[str, Any]:
    told = {each.name: getattr(fault, each.name) for each in fields(fault)}
    return {name: value for name, value in told.items() if value is not None}
