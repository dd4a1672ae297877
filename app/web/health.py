"""Tells machines how the service is: ``/livez``, ``/readyz``, ``/startupz``, and ``/metrics`` for the operator.

Exactly 200 or 503, to everybody, never logged. Ready means: what is posted here will be on disk. The next hop, tokens
and the like never count: a service that can store is useful while Exchange is down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.kit.clock import Clock
from app.web.state import Phase, State

PATHS: Final = frozenset({"/livez", "/readyz", "/startupz"})
_PROBE_EVERY: Final = 2.0
_PROBE_PATIENCE: Final = 1.0
_NO_STORE: Final = {"cache-control": "no-store"}


class Health:
    """Answers the probes.

    ``probe`` tries a commit and returns None or the word of what is in the way; ``alive`` says whether the loops have
    shown life lately (by the clock, not by the upstream).
    """

    def __init__(
        self, state: State, probe: Callable[[], Awaitable[str | None]], alive: Callable[[], bool], clock: Clock
    ) -> None:
        self._state = state
        self._probe = probe
        self._alive = alive
        self._clock = clock
        self._probed_at = -_PROBE_EVERY
        self._trouble: str | None = None
        self._probing: asyncio.Task[None] | None = None

    def liveness(self) -> dict[str, str | None]:
        """Return the checks of ``/livez``, each None or what is wrong."""
        return {"loops": None if self._alive() else "stalled"}

    def startup(self) -> dict[str, str | None]:
        """Return the checks of ``/startupz``."""
        return {"started": "starting" if self._state.phase is Phase.STARTING else None}

    async def readiness(self) -> dict[str, str | None]:
        """Return the checks of ``/readyz``."""
        leaving = "draining" if self._state.phase > Phase.SERVING else None
        checks = {**self.startup(), "staying": leaving}
        if not any(checks.values()):
            checks["store"] = await self._store()
        return checks

    async def _store(self) -> str | None:
        """Return what is in the store's way, asked anew every two seconds, once for everybody who asks."""
        now = self._clock.boot()
        if self._probing is None and now - self._probed_at >= _PROBE_EVERY:
            self._probed_at = now
            self._probing = asyncio.create_task(self._ask(), name="health probe")
        if self._probing is not None:
            await asyncio.wait({self._probing}, timeout=_PROBE_PATIENCE)
            if self._probing is not None:
                return "storage-unavailable"
        return self._trouble

    async def _ask(self) -> None:
        try:
            self._trouble = await self._probe()
        except Exception:  # noqa: BLE001 - whatever it was, this store takes nothing now
            self._trouble = "storage-unavailable"
        finally:
            self._probing = None


def _answer(checks: dict[str, str | None], *, verbose: bool) -> Response:
    troubles = [trouble for trouble in checks.values() if trouble]
    text = troubles[0] if troubles else "ok"
    if verbose:
        text = "\n".join(f"{name}: {trouble or 'ok'}" for name, trouble in checks.items())
    return PlainTextResponse(text + "\n" if verbose else text, 503 if troubles else 200, _NO_STORE)


def health_routes(health: Health, *, verbose: bool = False) -> list[Route]:
    """Return the routes of the probes; ``verbose`` lets ``?verbose`` list each check (the operator's listener only)."""

    def wants(request: Request) -> bool:
        return verbose and "verbose" in request.query_params

    async def livez(request: Request) -> Response:
        return _answer(health.liveness(), verbose=wants(request))

    async def readyz(request: Request) -> Response:
        return _answer(await health.readiness(), verbose=wants(request))

    async def startupz(request: Request) -> Response:
        return _answer(health.startup(), verbose=wants(request))

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/startupz", startupz)]


def metrics_route(registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]) -> Route:
    """Return the route of ``/metrics``; ``refresh`` brings the gauges up to date before each scrape."""

    async def metrics(request: Request) -> Response:
        request.scope["route"] = route  # as FastAPI does for its own, so that the guard can name it
        await refresh()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={**_NO_STORE, "content-type": content_type})

    route = Route("/metrics", metrics)
    return route
