"""The operators' first aid over HTTP: pauses, the queue, the audit; with a key from outside, or from inside without."""

from __future__ import annotations

import io
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from app.api.doors import create_inside, create_management
from app.api.services import ManagementServices
from app.delivery.operators import Operators
from app.intake.outcome import Forecast, WaitingFor
from app.queue.views import MessageView
from app.web.keys import DEFAULT_SCOPES, KeyEntry, KeyRing, new_key
from app.web.state import State
from tests.support.manual_clock import ManualClock
from tests.support.operators_world import SENDER, World, open_operators_world

HOUR = timedelta(hours=1)
KEY = new_key(False, random.Random(7))
TENANT_KEY = new_key(False, random.Random(8))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_operators_world(tmp_path, ManualClock()) as opened:
        yield opened


def services(world: World) -> ManagementServices:
    def forecast(view: MessageView) -> Forecast:
        outlook = world.outlook(view.tenant)
        return Forecast(outlook.send_at, WaitingFor(outlook.code, outlook.text or "") if outlook.code else None)

    async def nothing() -> None:
        return None

    ring = KeyRing(
        [
            (None, [KeyEntry(KEY.id, KEY.hash, DEFAULT_SCOPES)]),
            ("billing", [KeyEntry(TENANT_KEY.id, TENANT_KEY.hash, DEFAULT_SCOPES)]),
        ]
    )
    return ManagementServices(
        operators=Operators(world.engine, world.audit, world.clock),
        senders=world.engine.senders,
        first_aid=world.aid,
        forecast=forecast,
        probe=world.store.probe,
        alive=lambda: True,
        refresh=nothing,
        keys=lambda: ring,
        clock=world.clock,
        state=State(),
        metrics=world.metrics,
        log=structlog.wrap_logger(
            structlog.WriteLogger(io.StringIO()), processors=[structlog.processors.JSONRenderer()]
        ),
    )


@pytest.fixture
def client(world: World) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_management(services(world)))
    headers = {"authorization": f"Bearer {KEY.text}"}
    return httpx.AsyncClient(transport=transport, base_url="http://postroom.test", headers=headers)


async def rows(client: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["object"] == "list"
    return list(told["data"])


async def test_a_tenant_is_paused_and_resumed(client: httpx.AsyncClient) -> None:
    """200 with the tenant; the list tells who is paused, since when, by whom."""
    told = (await client.post("/v1/tenants/billing/pause")).json()
    paused = {"since": "2026-11-23T12:00:00Z", "by": KEY.id}
    assert told == {"object": "tenant", "name": "billing", "paused": paused}
    assert [each["paused"] for each in await rows(client, "/v1/tenants")] == [paused, None]
    assert (await client.post("/v1/tenants/billing/resume")).json()["paused"] is None
    assert (await client.post("/v1/tenants/nobody/pause")).status_code == 404


async def test_the_queue_tells_whose_mail_waits_for_what(client: httpx.AsyncClient, world: World) -> None:
    """Not what it says: subject and metadata stay the tenant's."""
    identity = await world.accept("billing", tags=(("run", "7"),))
    await client.post("/v1/tenants/billing/pause")
    (row,) = await rows(client, "/v1/queue")
    assert (row["id"], row["tenant"], row["status"]) == (identity, "billing", "queued")
    assert (row["estimated_send_at"], row["waiting_for"]["code"]) == (None, "tenant-paused")
    assert row["recipients"][0]["address"] == "ann@example.com"
    assert not {"subject", "metadata"} & set(row)


async def test_the_queue_is_filtered_by_the_words_of_the_command(client: httpx.AsyncClient, world: World) -> None:
    """Before is an instant, or the cursor of a page before."""
    old = await world.accept("billing", tags=(("run", "7"),))
    await world.clock.advance(60)
    new = await world.accept("shop", scheduled_at=world.clock.now() + HOUR)

    async def found(**query: str) -> list[str]:
        return [each["id"] for each in await rows(client, "/v1/queue", **query)]

    assert await found() == [new, old]
    assert await found(tenant="shop") == [new]
    assert await found(**{"from": SENDER, "tag": "run:7"}) == [old]
    assert await found(status="scheduled") == [new]
    assert await found(created_before="2026-11-23T12:00:30Z") == await found(before="2026-11-23T12:00:30Z") == [old]
    first = (await client.get("/v1/queue?limit=1")).json()
    assert (first["has_more"], first["previous_cursor"]) == (True, None)
    second = (await client.get("/v1/queue", params={"limit": "1", "after": first["next_cursor"]})).json()
    assert ([each["id"] for each in second["data"]], second["has_more"]) == ([old], False)
    assert await found(before=second["previous_cursor"]) == [new]


@pytest.mark.parametrize(
    "query",
    ["status=done", "tag=run", "from=nobody", "before=x", "limit=0", "after=x", "other=1", "created_before=2026-11-23"],
)
async def test_a_filter_that_means_nothing_is_refused(client: httpx.AsyncClient, query: str) -> None:
    """422, never a list of everything."""
    assert (await client.get(f"/v1/queue?{query}")).json()["code"] == "validation-error"


async def test_what_fits_is_held_released_and_canceled(client: httpx.AsyncClient, world: World) -> None:
    """The answer tells how much was matched and how much was changed."""
    for _ in range(2):
        await world.accept("billing")
    await world.accept("shop")
    held = await client.post("/v1/queue/hold", json={"tenant": "billing"})
    assert (held.status_code, held.json()) == (200, {"matched": 2, "changed": 2})
    assert (await client.post("/v1/queue/hold", json={"status": "held"})).json() == {"matched": 2, "changed": 0}
    released = await client.post("/v1/queue/release", json={"from": SENDER})
    assert released.json() == {"matched": 3, "changed": 2}
    body = {"before": "2026-11-23T12:00:01Z", "tag": None}
    assert (await client.post("/v1/queue/cancel", json=body)).json() == {"matched": 3, "changed": 3}
    assert await rows(client, "/v1/queue") == []


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "#"),
        ({"tenant": None}, "#"),
        ({"status": "sent"}, "#/status"),
        ({"tag": "run"}, "#/tag"),
        ({"from": "nobody"}, "#/from"),
        ({"before": "2026-11-23"}, "#/before"),
        ({"tennant": "billing"}, "#/tennant"),
    ],
)
async def test_a_change_without_a_filter_that_means_something_is_refused(
    client: httpx.AsyncClient, world: World, body: dict[str, Any], at: str
) -> None:
    """422, and nothing is changed: an empty filter is a slip of the pen, not the whole queue."""
    await world.accept("billing")
    for deed in ("cancel", "hold", "release"):
        answer = await client.post(f"/v1/queue/{deed}", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, at)
    assert (await rows(client, "/v1/queue"))[0]["status"] == "queued"
    assert await rows(client, "/v1/audit") == []


async def test_everything_that_was_done_stands_in_the_audit(client: httpx.AsyncClient, world: World) -> None:
    """By the key's id, newest first, with cursors."""
    await client.post("/v1/tenants/shop/pause")
    await client.post("/v1/mailboxes/noreply/park")
    await client.post("/v1/queue/hold", json={"tenant": "shop"})
    told = await rows(client, "/v1/audit")
    assert [set(row) for row in told] == [{"id", "at", "who", "action", "target", "detail"}] * 3
    assert [(row["who"], row["action"], row["target"], row["detail"]) for row in told] == [
        (KEY.id, "queue.hold", "tenant=shop", "matched 0, changed 0"),
        (KEY.id, "mailbox.park", "noreply", None),
        (KEY.id, "tenant.pause", "shop", None),
    ]
    first = (await client.get("/v1/audit?limit=2")).json()
    assert first["has_more"]
    assert [row["target"] for row in await rows(client, "/v1/audit", after=first["next_cursor"])] == ["shop"]


async def test_first_aid_is_for_operators_only(client: httpx.AsyncClient) -> None:
    """No key: 401; a tenant's: 403; something that is no JSON: 415."""
    for method, path in (
        ("GET", "/v1/queue"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/tenants"),
        ("POST", "/v1/tenants/billing/pause"),
        ("POST", "/v1/queue/cancel"),
    ):
        refused = await client.request(method, path, headers={"authorization": f"Bearer {TENANT_KEY.text}"})
        assert refused.status_code == 403
        assert (await client.request(method, path, headers={"authorization": ""})).status_code == 401
    assert (await client.post("/v1/queue/cancel", content=b"tenant=billing")).status_code == 415


async def test_a_caller_inside_needs_no_key_and_gets_the_same_answers(world: World) -> None:
    """The command line under the store's lock; the audit tells who."""
    await world.accept("billing")
    inside = create_inside(services(world), "cli:root")
    assert await inside.ask("POST", "/v1/queue/hold", {}, {"tenant": "billing"}) == (200, {"matched": 1, "changed": 1})
    status, told = await inside.ask("GET", "/v1/queue", {"status": "held"}, None)
    assert (status, told["data"][0]["status"]) == (200, "held")
    status, told = await inside.ask("POST", "/v1/queue/hold", {}, {})
    assert (status, told["code"]) == (422, "validation-error")
    status, told = await inside.ask("GET", "/v1/audit", {}, None)
    assert [row["who"] for row in told["data"]] == ["cli:root"]
    assert (await inside.ask("GET", "/v1/nothing", {}, None))[0] == 404
