"""Large content streams: little memory, at the pace of the server, and a server that takes nothing is left."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import pytest

from app.mail.transaction import Fate
from tests.support.scripted_smtp import Peer, Scripted
from tests.support.smtp_stage import TIMEOUTS, MakePool, Mark, envelope, submit

MEGABYTE = 1024 * 1024
# Of every kind of line that matters: plain, with a dot at its head, a lone dot, empty.
BLOCK = b"".join([b"x" * 76 + b"\r\n", b".dot\r\n", b".\r\n", b"\r\n", b"a.b.c\r\n"] * 100)


class Streamed:
    """So many octets of ``BLOCK`` after ``BLOCK``, in chunks that cut lines anywhere; never whole in memory."""

    def __init__(self, size: int, chunk: int = 256 * 1024) -> None:
        self._size = size
        self._chunk = chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        repeated = BLOCK * (self._chunk // len(BLOCK) + 2)
        at = 0
        while at < self._size:
            start = at % len(BLOCK)
            length = min(self._chunk, self._size - at)
            yield repeated[start : start + length]
            at += length


def whole_blocks(size: int) -> int:
    return size // len(BLOCK) * len(BLOCK)


async def test_35_megabytes_cost_less_than_10_megabytes_of_memory(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    size = whole_blocks(35 * MEGABYTE)
    digest, octets = sha256(), 0

    async def swallow(peer: Peer) -> None:
        nonlocal octets
        await peer.welcome()
        await peer.accept()
        tail = b""
        while not tail.endswith(b"\r\n.\r\n"):
            piece = await peer.some()
            digest.update(piece)
            octets += len(piece)
            tail = (tail + piece)[-5:]
        await peer.say(b"250 2.0.0 taken\r\n")
        await peer.rest()

    # The server is in this process too, and takes in little ahead.
    async with Scripted(swallow, server_tls).listening(limit=64 * 1024) as server:
        pool = make_pool(server.port)
        async with pool.lend():
            pass
        tracemalloc.start()
        try:
            replies = await submit(pool, envelope(size=size), Streamed(size), Mark())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert replies.fate is Fate.ANSWERED
    expected = sha256()
    stuffed = BLOCK.replace(b"\r\n.", b"\r\n..")
    for _ in range(size // len(BLOCK)):
        expected.update(stuffed)
    expected.update(b".\r\n")
    assert digest.digest() == expected.digest()
    assert octets == len(stuffed) * (size // len(BLOCK)) + 3
    assert peak < 10 * MEGABYTE


async def test_a_server_that_takes_nothing_is_left_without_a_dot(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def stall(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        peer.stop_reading()
        await asyncio.Event().wait()

    mark = Mark()
    async with Scripted(stall, server_tls).listening(receive_buffer=8192, limit=8192) as server:
        pool = make_pool(server.port, timeouts=replace(TIMEOUTS, data=0.2))
        replies = await submit(pool, content=Streamed(32 * MEGABYTE), mark=mark)
        assert pool.open == 0
    assert replies.fate is Fate.NOT_TAKEN and replies.trouble == "the server took nothing for 0.2 s"
    assert mark.asked == 0


async def test_a_server_that_is_slow_but_takes_something_is_waited_for(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    size = whole_blocks(16 * MEGABYTE)

    async def dawdle(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        tail = b""
        for _ in range(5):
            await asyncio.sleep(0.1)
            await peer.octets(2 * MEGABYTE)
        while not tail.endswith(b"\r\n.\r\n"):
            tail = (tail + await peer.some())[-5:]
        await peer.say(b"250 2.0.0 taken\r\n")
        await peer.rest()

    async with Scripted(dawdle, server_tls).listening(receive_buffer=65_536, limit=65_536) as server:
        pool = make_pool(server.port, timeouts=replace(TIMEOUTS, data=0.3))
        replies = await submit(pool, envelope(size=size), Streamed(size))
    assert replies.fate is Fate.ANSWERED


@pytest.mark.parametrize("chunk", [1000, 65_536, 65_537, 262_144])
async def test_however_the_store_cuts_it_the_content_arrives_right(
    chunk: int, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    size = whole_blocks(300_000)
    got = asyncio.get_running_loop().create_future()

    async def serve(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        got.set_result(await peer.until(b"\r\n.\r\n"))
        await peer.say(b"250 2.0.0 taken\r\n")
        await peer.rest()

    async with Scripted(serve, server_tls).listening() as server:
        await submit(make_pool(server.port), envelope(size=size), Streamed(size, chunk))
        assert await got == BLOCK.replace(b"\r\n.", b"\r\n..") * (size // len(BLOCK)) + b".\r\n"
