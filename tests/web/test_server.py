"""What the HTTP protocol under the doors bears with: a head in parts, but not one that never ends."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.api_world import HELLO, World


async def _answer(world: World, *pieces: bytes) -> bytes:
    """Return what comes, until the connection is closed, for pieces sent one by one."""
    async with world.served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param((b"POST /v1/messages HTTP/1.1\r\nHo",), b"HTTP/1.1 408 Request Timeout\r\n", id="half a head"),
        pytest.param((b"GET ", b"/livez HTTP/1.1\r\n", b"Host: x\r\n"), b"HTTP/1.1 408 ", id="drop by drop"),
        pytest.param((), b"", id="nothing"),
        pytest.param((b"\r\n",), b"", id="an empty line"),
        pytest.param((b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"), b"HTTP/1.1 200 ", id="and an empty line"),
        pytest.param((b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /"), b"HTTP/1.1 200 ", id="and a half one"),
    ],
)
async def test_who_begins_a_request_and_does_not_go_on_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], expected: bytes
) -> None:
    """Within the time a head may take; nobody keeps a connection by saying nothing."""
    monkeypatch.setattr("app.web.server.HEAD_SECONDS", 0.1)
    answer = await _answer(world, *pieces)
    assert answer.startswith(expected)
    assert bool(answer) == bool(expected)


async def test_an_answer_under_way_goes_before_the_end_of_patience(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a request sent ahead, while the one before it waits for its outcome."""
    monkeypatch.setattr("app.web.server.HEAD_SECONDS", 0.05)
    body = json.dumps(HELLO).encode()
    head = (
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nPrefer: wait=5\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (world.key.text.encode(), len(body))
    )
    asyncio.get_running_loop().call_later(0.2, world.finish.set)
    answer = await _answer(world, head + body + b"GET /live")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


async def test_an_upgrade_nobody_offers_is_not_taken(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The request is answered as if it had not asked, and the log says nothing."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert (await _answer(world, request)).startswith(b"HTTP/1.1 200 ")
    assert caplog.records == []


async def test_a_head_alone_is_had_wherever_a_body_is(world: World) -> None:
    """HEAD answers as GET does, without the body."""
    async with world.client() as client:
        accepted = await client.post("/v1/messages", json=HELLO)
    path = accepted.headers["location"].encode()
    for target in (b"/v1/messages", path, path + b"/events", b"/v1/openapi.json", b"/docs", b"/livez"):
        line = b"%b " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "
        request = line + world.key.text.encode() + b"\r\n\r\n"
        head, whole = [await _answer(world, request % method) for method in (b"HEAD", b"GET")]
        assert head.startswith(b"HTTP/1.1 200 "), target
        assert head.endswith(b"\r\n\r\n"), target
        names = [
            {line.partition(b":")[0] for line in each.split(b"\r\n\r\n")[0].split(b"\r\n")} for each in (head, whole)
        ]
        assert names[0] == names[1], target
