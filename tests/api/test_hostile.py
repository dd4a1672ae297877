"""Every hostile request ends in the right refusal, stores nothing, tells no secret and changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from app.web.body import BodyLimits
from app.web.kinds import KINDS
from tests.support.api_world import HELLO, World, open_world, serving
from tests.support.hostile import ATTACKS, BROKEN, Attack
from tests.support.manual_clock import ManualClock

LIMITS = BodyLimits(body=500_000, memory=10_000_000, timeout=0.15)


def test_there_are_enough_of_them() -> None:
    """And each has its own name."""
    assert len(ATTACKS) >= 200
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


async def ask(address: tuple[str, int], attack: Attack, key: str) -> bytes:
    """Send a request as it stands and return all that comes back."""
    reader, writer = await asyncio.open_connection(*address)
    answer = b""
    try:
        writer.write(attack.octets.replace(b"%KEY%", key.encode()))
        await writer.drain()
        if attack.then == "close":
            writer.close()
            await asyncio.sleep(0)
            return b""
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = head
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:") and not attack.octets.startswith(b"HEAD"):
                    answer += await reader.readexactly(int(line.partition(b":")[2]))
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        answer += getattr(error, "partial", b"")
    finally:
        writer.close()
    return answer


def fault(attack: Attack, answer: bytes) -> str | None:
    """Return what is wrong with an answer."""
    if not answer:
        return None if BROKEN in attack.expected else "no answer"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status >= 500 or status < 400:
        return f"status {status}"
    if b"application/problem+json" not in head:
        return None if BROKEN in attack.expected else f"no problem: {answer[:200]!r}"
    if attack.octets.startswith(b"HEAD"):
        return None
    told = json.loads(body)
    if told["code"] not in attack.expected:
        return f"{told['code']}: {told}"
    if status not in (KINDS[told["code"]].status, KINDS[told["code"]].also):
        return f"{told['code']} with status {status}"
    return None


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with open_world(tmp_path, clock, limits=LIMITS) as opened:
        yield opened


async def test_hostile_requests_do_no_harm(world: World) -> None:
    """On real sockets, one after the other, and then once more all at once."""
    async with world.served() as address:
        faults = {}
        for attack in ATTACKS:
            wrong = fault(attack, await ask(address, attack, world.key.text))
            if wrong:
                faults[attack.name] = wrong
        assert faults == {}
        before = psutil.Process().memory_info().rss
        for start in range(0, len(ATTACKS), 50):
            batch = ATTACKS[start : start + 50]
            answers = await asyncio.gather(*(ask(address, attack, world.key.text) for attack in batch))
            assert not any(answer.startswith(b"HTTP/1.1 5") for answer in answers)
        grown = psutil.Process().memory_info().rss - before
        assert grown < 30 * 1024 * 1024
        assert await world.stored() == 0
        # The last who went away without a word is noticed a moment later; a leak would stay.
        async with asyncio.timeout(10):
            while world.app._gate.memory.held:
                await asyncio.sleep(0.01)
        async with world.client() as client:
            assert (await client.post("/v1/messages", json=HELLO)).status_code == 202
    log = world.stream.getvalue()
    assert world.key.text not in log
    assert "request failed" not in log
    for word in ("evil@x.example", "Invoice 8812", "Please find"):
        assert word not in log


async def test_a_request_hidden_in_another_is_not_seen(world: World) -> None:
    """What follows a request with two lengths is not answered."""
    inner = f"GET /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.key.text}\r\n\r\n".encode()
    async with serving(world.app) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + inner
        )
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"HTTP/1.1 400" in answer
    assert not world.lines
