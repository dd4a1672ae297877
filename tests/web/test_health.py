"""Health: exactly 200 or 503, for everybody, never about the next hop."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from app.kit.metrics import Metrics
from app.web.health import Health, health_routes, metrics_route
from app.web.state import Phase, State
from tests.support.manual_clock import ManualClock


class Stage:
    """A health with everything in the test's hands."""

    def __init__(self, verbose: bool = False) -> None:
        self.clock = ManualClock()
        self.state = State()
        self.trouble: str | None = None
        self.is_alive = True
        self.probes = 0
        self.hang = asyncio.Event()
        self.hang.set()
        health = Health(self.state, self._probe, lambda: self.is_alive, self.clock)
        app = Starlette(routes=health_routes(health, verbose=verbose))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")

    async def _probe(self) -> str | None:
        self.probes += 1
        await self.hang.wait()
        if self.trouble == "raise":
            raise OSError
        return self.trouble

    async def get(self, path: str) -> tuple[int, str]:
        response = await self.client.get(path)
        assert response.headers["cache-control"] == "no-store"
        return response.status_code, response.text


async def test_the_probes_follow_the_phases() -> None:
    """Started, then ready, then leaving; alive all the while."""
    stage = Stage()
    assert await stage.get("/startupz") == (503, "starting")
    assert await stage.get("/readyz") == (503, "starting")
    stage.state.enter(Phase.SERVING)
    assert await stage.get("/startupz") == (200, "ok")
    assert await stage.get("/readyz") == (200, "ok")
    stage.state.enter(Phase.LEAVING)
    assert await stage.get("/readyz") == (503, "draining")
    assert await stage.get("/livez") == (200, "ok")
    stage.state.enter(Phase.SERVING)  # there is no way back
    assert await stage.get("/readyz") == (503, "draining")


async def test_liveness_is_about_the_loops() -> None:
    """And about nothing else."""
    stage = Stage()
    stage.is_alive = False
    assert await stage.get("/livez") == (503, "stalled")


async def test_head_is_answered_like_get() -> None:
    """Without a body."""
    stage = Stage()
    response = await stage.client.head("/livez")
    assert (response.status_code, response.content) == (200, b"")


async def test_the_store_is_asked_at_most_every_two_seconds() -> None:
    """A full queue shows within that time, and so does its end."""
    stage = Stage()
    stage.state.enter(Phase.SERVING)
    assert await stage.get("/readyz") == (200, "ok")
    stage.trouble = "queue-full"
    assert await stage.get("/readyz") == (200, "ok")
    await stage.clock.advance(2)
    assert await stage.get("/readyz") == (503, "queue-full")
    stage.trouble = "raise"
    await stage.clock.advance(2)
    assert await stage.get("/readyz") == (503, "storage-unavailable")
    stage.trouble = None
    await stage.clock.advance(2)
    assert await stage.get("/readyz") == (200, "ok")
    assert stage.probes == 4


async def test_a_store_that_hangs_is_not_ready_and_is_asked_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask."""
    monkeypatch.setattr("app.web.health._PROBE_PATIENCE", 0.05)
    stage = Stage()
    stage.state.enter(Phase.SERVING)
    stage.hang.clear()
    answers = await asyncio.gather(*(stage.get("/readyz") for _ in range(5)))
    assert set(answers) == {(503, "storage-unavailable")}
    assert stage.probes == 1
    stage.hang.set()
    await asyncio.sleep(0)


async def test_each_check_is_listed_for_the_operator_only() -> None:
    """``?verbose`` counts on the management listener alone."""
    assert (await Stage(verbose=True).get("/readyz?verbose"))[1] == "started: starting\nstaying: ok\n"
    assert (await Stage(verbose=False).get("/readyz?verbose"))[1] == "starting"


async def test_metrics_are_brought_up_to_date_before_they_are_told() -> None:
    """In the form the scraper asks for."""
    metrics = Metrics(CollectorRegistry(), "1.0")

    async def refresh() -> None:
        metrics.queue_oldest_age.set(42)

    app = Starlette(routes=[metrics_route(metrics.registry, refresh)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        plain = await client.get("/metrics")
        assert "postroom_queue_oldest_age_seconds 42.0" in plain.text
        assert plain.headers["content-type"].startswith("text/plain")
        fresh = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert fresh.headers["content-type"].startswith("application/openmetrics-text")
