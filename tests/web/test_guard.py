"""The guard: who is it, may he come in from there, is the service open; and how it ended."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from app.web.guard import credential
from app.web.keys import DEFAULT_SCOPES, KeyEntry, KeyRing
from app.web.state import Phase
from tests.support.api_world import HELLO, World, open_world
from tests.support.manual_clock import ManualClock


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Bearer abc", "abc"),
        (b"bearer   abc ", "abc"),
        (b"Basic " + base64.b64encode(b"anybody:abc"), "abc"),
        (b"BASIC " + base64.b64encode(b":a:b"), "a:b"),
        (b"Basic " + base64.b64encode(b"abc"), ""),
        (b"Basic not base64!", None),
        (b"Basic " + base64.b64encode(b"u:\xff"), None),
        (b"Bearer \xff", None),
        (b"Digest abc", None),
        (b"", None),
    ],
)
def test_the_key_is_the_token_of_bearer_or_the_password_of_basic(header: bytes, key: str | None) -> None:
    """Any user name will do."""
    assert credential(header) == key


async def test_a_key_lets_in_as_bearer_and_as_basic(world: World) -> None:
    """The same key."""
    async with world.client() as client:
        assert (await client.get("/v1/messages")).status_code == 200
        basic = base64.b64encode(f"x:{world.key.text}".encode()).decode()
        response = await client.get("/v1/messages", headers={"authorization": f"Basic {basic}"})
        assert response.status_code == 200


@pytest.mark.parametrize("fault", ["none", "unknown", "mismatch", "expired", "malformed", "twice"])
async def test_every_wrong_key_has_the_same_answer(world: World, clock: ManualClock, fault: str) -> None:
    """The log knows the reason and the id; the caller learns nothing."""
    text = world.key.text
    headers: list[tuple[str, str]] = [("authorization", f"Bearer {text}")]
    if fault == "none":
        headers = []
    elif fault == "unknown":
        world.ring = KeyRing([])
    elif fault == "mismatch":
        world.ring = KeyRing([("billing", [KeyEntry(world.key.id, world.other_key.hash)])])
    elif fault == "expired":
        entry = KeyEntry(world.key.id, world.key.hash, DEFAULT_SCOPES, clock.now())
        world.ring = KeyRing([("billing", [entry])])
    elif fault == "malformed":
        headers = [("authorization", f"Bearer {text[:-1]}!")]
    else:
        headers *= 2
    async with world.client() as client:
        del client.headers["authorization"]
        response = await client.post("/v1/messages", content=b"not even JSON", headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert response.headers["www-authenticate"].startswith("Bearer")
    line = world.lines[-1]
    assert line["reason"] == "unauthorized"
    assert line["client"] == "10.0.0.9"
    if fault in ("unknown", "mismatch", "expired", "malformed"):
        assert line["key_fault"] == fault
    if fault in ("unknown", "mismatch", "expired"):
        assert line["key_id"] == world.key.id
    assert text not in world.stream.getvalue()


async def test_a_key_expires_to_the_second(world: World, clock: ManualClock) -> None:
    """Valid before, not at the instant."""
    entry = KeyEntry(world.key.id, world.key.hash, DEFAULT_SCOPES, clock.now() + timedelta(seconds=5))
    world.ring = KeyRing([("billing", [entry])])
    async with world.client() as client:
        assert (await client.get("/v1/messages")).status_code == 200
        await clock.advance(5)
        assert (await client.get("/v1/messages")).status_code == 401


async def test_after_twenty_failures_wrong_keys_must_wait_and_valid_ones_need_not(
    world: World, clock: ManualClock
) -> None:
    """Counted by address."""
    wrong = {"authorization": "Bearer wrong"}
    async with world.client() as client:
        for _ in range(20):
            assert (await client.get("/v1/messages", headers=wrong)).status_code == 401
        refused = await client.get("/v1/messages", headers=wrong)
        assert (refused.status_code, refused.json()["code"]) == (429, "too-many-failures")
        assert refused.headers["retry-after"] == "60"
        assert (await client.get("/v1/messages")).status_code == 200
    async with world.client(peer=("10.0.0.10", 1)) as neighbour:
        assert (await neighbour.get("/v1/messages", headers=wrong)).status_code == 401
    await clock.advance(60)
    async with world.client() as client:
        assert (await client.get("/v1/messages", headers=wrong)).status_code == 401


@pytest.mark.parametrize(
    ("key_networks", "tenant_networks", "status"),
    [
        ([], [], 200),
        (["10.0.0.0/8"], [], 200),
        (["192.0.2.0/24"], [], 403),
        ([], ["10.0.0.0/8"], 200),
        ([], ["192.0.2.0/24"], 403),
        (["10.0.0.0/8"], ["192.0.2.0/24"], 403),
        (["10.0.0.0/8"], ["10.0.0.9/32"], 200),
    ],
)
async def test_the_networks_of_key_and_tenant_must_both_allow(
    world: World, key_networks: list[str], tenant_networks: list[str], status: int
) -> None:
    """An empty list allows everybody."""
    entry = KeyEntry(world.key.id, world.key.hash, networks=tuple(map(ip_network, key_networks)))
    world.ring = KeyRing([("billing", [entry])])
    world.networks["billing"] = [ip_network(each) for each in tenant_networks]
    async with world.client() as client:
        response = await client.get("/v1/messages")
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "network-not-allowed"


@pytest.fixture
async def behind_a_proxy(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with open_world(tmp_path, clock, trusted_proxies=[ip_network("10.0.0.0/24")]) as world:
        yield world


async def test_a_trusted_proxy_says_who_calls(behind_a_proxy: World) -> None:
    """Several lines of X-Forwarded-For are one list; an untrusted peer says nothing."""
    world = behind_a_proxy
    world.networks["billing"] = [ip_network("198.51.100.0/24")]
    lines = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "198.51.100.7, 10.0.0.2")]
    async with world.client() as client:
        assert (await client.get("/v1/messages", headers=lines)).status_code == 200
        assert (await client.get("/v1/messages")).status_code == 403
    async with world.client(peer=("192.0.2.1", 1)) as stranger:
        assert (await stranger.get("/v1/messages", headers=lines)).status_code == 403


async def test_an_operators_key_is_no_tenants(world: World) -> None:
    """It belongs to the other listener."""
    async with world.client(world.admin_key) as client:
        response = await client.post("/v1/messages", json=HELLO)
    assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")


async def test_the_callers_request_id_is_used_if_it_is_harmless(world: World) -> None:
    """Else a new one is made; it is in answer, problem and log alike."""
    async with world.client() as client:
        own = await client.get("/v1/nothing", headers={"x-request-id": "a/b-1.c:d=="})
        assert own.headers["x-request-id"] == own.json()["request_id"] == "a/b-1.c:d=="
        assert world.lines[-1]["request_id"] == "a/b-1.c:d=="
        for strange in ("x" * 129, "with space", 'quote"', "naïve"):
            response = await client.get("/v1/nothing", headers=[(b"x-request-id", strange.encode())])
            assert response.headers["x-request-id"].startswith("req_")


async def test_while_leaving_the_door_is_open_and_when_closed_it_says_so(world: World) -> None:
    """503 draining with Retry-After on kept connections, which end."""
    async with world.client() as client:
        world.state.enter(Phase.LEAVING)
        assert (await client.post("/v1/messages", json=HELLO)).status_code == 202
        world.state.enter(Phase.CLOSED)
        response = await client.post("/v1/messages", json=HELLO)
    assert (response.status_code, response.json()["code"]) == (503, "draining")
    assert response.headers["connection"] == "close"
    assert int(response.headers["retry-after"]) > 0


async def test_one_line_and_one_measurement_a_request(world: World) -> None:
    """With the route's template, never the path; probes have neither."""
    async with world.client() as client:
        accepted = await client.post("/v1/messages", json=HELLO)
        await client.get(accepted.headers["location"])
        await client.request("BREW", "/v1/messages")
        await client.get("/readyz")
        await client.get("/livez")
    assert [(line["method"], line["route"], line["status"]) for line in world.lines] == [
        ("POST", "/v1/messages", 202),
        ("GET", "/v1/messages/{id}", 200),
        ("OTHER", "/v1/messages", 405),
    ]
    assert world.lines[0]["message_id"] == accepted.json()["id"]
    assert world.lines[0]["tenant"] == "billing"
    text = generate_latest(world.metrics.registry).decode()
    assert (
        'postroom_http_request_duration_seconds_count{method="GET",route="/v1/messages/{id}",status="200"} 1.0' in text
    )
    assert 'postroom_requests_refused_total{reason="method-not-allowed",tenant="billing"} 1.0' in text
    assert "readyz" not in text


async def test_who_is_kept_out_is_logged_with_the_route_that_was_asked_for(world: World) -> None:
    """By its template all the same; what does not exist is one word."""
    async with world.client() as client:
        client.headers["authorization"] = "Bearer wrong"
        for path in ("/v1/messages", "/v1/messages/msg_x/events", "/v1/nothing/secret"):
            assert (await client.get(path)).status_code == 401
        assert (await client.post("/v1/messages/msg_x/cancel")).status_code == 401
    assert [line["route"] for line in world.lines] == [
        "/v1/messages",
        "/v1/messages/{id}/events",
        "unmatched",
        "/v1/messages/{id}/cancel",
    ]


async def test_what_nobody_foresaw_is_a_problem_with_a_name_and_its_cause_in_the_log(world: World) -> None:
    """On the shortcut and on an ordinary route."""
    world.intake.trouble = RuntimeError("secret detail")
    async with world.client() as client:
        response = await client.post("/v1/messages", json=HELLO)
        assert (response.status_code, response.json()["code"]) == (500, "internal-error")
        assert "secret detail" not in response.text
        assert "secret detail" in world.stream.getvalue()
        world.services.store.messages = None  # type: ignore[method-assign,assignment]
        response = await client.get("/v1/messages")
        assert (response.status_code, response.json()["code"]) == (500, "internal-error")
    assert [line["event"] for line in world.lines] == ["request failed", "request"] * 2


async def test_unknown_things_are_problems_too(world: World) -> None:
    """404 and 405 with Allow, from the router itself; no redirects."""
    async with world.client() as client:
        for path in ("/", "/v1", "/v2/messages", "/v1/messages/", "/v1//messages", "//v1/messages", "/livez/"):
            response = await client.get(path)
            assert (response.status_code, response.json()["code"]) == (404, "not-found"), path
        response = await client.delete("/v1/messages")
        assert response.json()["code"] == "method-not-allowed"
        assert response.headers["allow"] == "GET, HEAD, POST"
        response = await client.post("/readyz")
        assert response.json()["code"] == "method-not-allowed"


async def test_without_a_key_nothing_under_v1_tells_what_exists(world: World) -> None:
    """401 for what is there and for what is not; the description is for everybody."""
    async with world.client() as client:
        del client.headers["authorization"]
        for path in ("/v1/messages", "/v1/nothing", "/v1/messages/msg_x"):
            assert (await client.get(path)).status_code == 401
        assert (await client.get("/v1/openapi.json")).status_code == 200


async def test_a_body_announced_without_a_key_is_not_read(world: World) -> None:
    """The answer comes at once, though five megabytes were promised and never sent."""
    async with world.served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_a_client_still_sending_gets_to_read_that_it_was_too_much(world: World) -> None:
    """The rest is read and dropped; closing at once would lose the answer."""
    async with world.served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        size = 41 * 1024 * 1024
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (world.key.text.encode(), size)
        )
        for _ in range(41):
            writer.write(b"x" * 1024 * 1024)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in head.lower()
        assert b"payload-too-large" in await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_who_asks_before_sending_is_told_before_sending(world: World) -> None:
    """``Expect: 100-continue``: go on, or the refusal."""
    async with world.served() as (host, port):
        for key, first in ((world.key.text, b"HTTP/1.1 100 "), ("wrong", b"HTTP/1.1 401 ")):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(
                b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
                b"Authorization: Bearer %b\r\nContent-Length: 2\r\n\r\n" % key.encode()
            )
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(first)
            writer.close()


async def test_a_head_without_end_does_not_fill_the_memory(world: World) -> None:
    """431, and the connection is closed."""
    async with world.served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: ")
        answer = b""
        for _ in range(64):
            writer.write(b"x" * 65536)
            try:
                await writer.drain()
                await asyncio.sleep(0)
            except ConnectionError:
                break
        try:
            answer = await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
        writer.close()
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(200):  # a kept connection is counted request by request
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Some: " + b"x" * 1000 + b"\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"ok")
        writer.close()
