"""A body is bounded in size, in time, and in what all bodies hold together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.web.body import Body, BodyLimits, Disconnected, Memory
from app.web.problems import Problem

LIMITS = BodyLimits(body=1000, memory=2500, timeout=0.1)


def sender(*chunks: bytes, then: str = "end") -> Callable[[], Any]:
    """Return an ASGI ``receive`` that gives chunks; ``then``: the last of them ends, hangs, or the client is gone."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if then == "end":
        messages[-1]["more_body"] = False

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        if then == "hang":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive


def body(receive: Any, declared: int | None = None, memory: Memory | None = None, limits: BodyLimits = LIMITS) -> Body:
    return Body(receive, declared, limits, memory or Memory(limits.memory))


async def test_a_body_in_one_piece_is_not_copied() -> None:
    """It is what the server gave."""
    piece = b"x" * 100
    assert await body(sender(piece), 100).read() is piece


async def test_a_body_in_pieces_is_put_together() -> None:
    """Declared or not."""
    assert await body(sender(b"ab", b"", b"c"), 3).read() == b"abc"
    assert await body(sender(b"ab", b"c", b"")).read() == b"abc"


async def test_no_body_is_empty_without_asking() -> None:
    """Asking would wait for ever, or tell the client to go on."""
    assert await body(sender(then="hang"), 0).read() == b""


async def test_a_declared_body_over_the_limit_is_refused_unread() -> None:
    """With the limit told."""
    with pytest.raises(Problem) as caught:
        body(sender(then="hang"), 1001).check_declared()
    assert (caught.value.kind.code, caught.value.members) == ("payload-too-large", {"limit": 1000})


async def test_a_chunked_body_over_the_limit_is_refused_at_the_limit() -> None:
    """Not after all of it."""
    receive = sender(b"x" * 600, b"x" * 600, then="hang")
    with pytest.raises(Problem) as caught:
        await body(receive).read()
    assert caught.value.kind.code == "payload-too-large"


async def test_a_body_that_does_not_arrive_is_408_and_the_end_of_the_connection() -> None:
    """Whether nothing came or something."""
    for receive in (sender(then="hang"), sender(b"x", then="hang")):
        with pytest.raises(Problem) as caught:
            await body(receive, 10).read()
        assert caught.value.kind.code == "request-timeout"
        assert caught.value.headers["connection"] == "close"
    with pytest.raises(Problem):
        async for _ in body(sender(b"x", then="hang"), 10).stream():
            pass


async def test_a_client_that_goes_away_is_no_problem_of_anybody() -> None:
    """There is nobody to tell."""
    with pytest.raises(Disconnected):
        await body(sender(b"x", then="gone"), 10).read()


async def test_bodies_together_hold_no_more_than_the_memory() -> None:
    """By what they declare, or as they grow; and all is given back."""
    memory = Memory(2500)
    first, second, third = (body(sender(b"x" * 900), 900, memory) for _ in range(3))
    await first.read()
    await second.read()
    with pytest.raises(Problem) as caught:
        await third.read()
    assert caught.value.kind.code == "busy"
    grown = body(sender(b"x" * 600, b"x" * 300), None, memory)
    with pytest.raises(Problem):
        await grown.read()
    for each in (first, second, third, grown):
        each.release()
    assert memory.held == 0


async def test_one_body_finds_room_however_small_the_memory() -> None:
    """Or it would never."""
    assert len(await body(sender(b"x" * 900), 900, Memory(100)).read()) == 900


async def test_a_streamed_body_counts_with_a_window_only() -> None:
    """Since it is never whole in memory."""
    memory = Memory(0)
    large = BodyLimits(body=0, memory=0, timeout=1)
    streamed = body(sender(*[b"x" * 65536] * 20), 20 * 65536, memory, large)
    pieces = [len(piece) async for piece in streamed.stream()]
    assert sum(pieces) == 20 * 65536
    assert memory.held == 256 * 1024


async def test_the_time_a_reader_takes_is_not_the_clients_fault() -> None:
    """Only waiting for octets counts."""
    streamed = body(sender(b"a", b"b", b"c"), 3)
    taken = []
    async for piece in streamed.stream():
        await asyncio.sleep(0.06)
        taken.append(piece)
    assert taken == [b"a", b"b", b"c"]


async def test_draining_ends_by_itself() -> None:
    """At the end, at twice the limit, after the time, or with the client."""
    for receive in (
        sender(b"x" * 500, b"y" * 500),
        sender(*[b"x" * 500] * 10, then="hang"),
        sender(b"x", then="hang"),
        sender(b"x", then="gone"),
    ):
        await body(receive).drain()
