"""Cancelled at any await: nothing stays lent, no reply is taken for another's, no dot goes without its mark."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.mail.transaction import Fate
from tests.support.scripted_smtp import TLS_EHLO, Peer, Scripted
from tests.support.smtp_stage import MakePool, Octets, envelope, submit

LINE = b"x" * 76 + b"\r\n"


class Store:
    """A server that keeps what it took and names it in its reply."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.welcome(self.ehlo)
        while True:
            if await peer.line() == b"QUIT":
                await peer.say(b"221 bye\r\n")
                return peer.close()
            if self.is_pipelining:
                await peer.lines(3)
                await peer.say(b"250 r\r\n250 s\r\n250 t\r\n354 go\r\n")
            else:
                for answer in (b"250 r\r\n", b"250 s\r\n", b"250 t\r\n"):
                    await peer.say(answer)
                    await peer.line()
                await peer.say(b"354 go\r\n")
            content = await peer.until(b"\r\n.\r\n")
            number = int(content.split(b"\r\n")[0].removeprefix(b"Number: "))
            self.taken.append(number)
            await peer.say(b"250 taken %d\r\n" % number)

    is_pipelining = True

    @property
    def ehlo(self) -> bytes:
        return TLS_EHLO if self.is_pipelining else TLS_EHLO.replace(b"250-PIPELINING\r\n", b"")


def message(number: int, lines: int) -> Octets:
    return Octets(b"Number: %d\r\n\r\n" % number, *[LINE * 500] * (lines // 500))


@pytest.mark.parametrize("is_pipelining", [True, False], ids=["pipelined", "lock-step"])
@pytest.mark.parametrize("lines", [0, 20_000], ids=["small", "large"])
async def test_a_transaction_cancelled_after_so_many_turns_of_the_loop(
    lines: int, is_pipelining: bool, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    store = Store()
    store.is_pipelining = is_pipelining
    marked: set[int] = set()
    ended: dict[int, int] = {}

    async def one(pool, number: int, lines: int) -> None:
        async def mark() -> bool:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            marked.add(number)
            return True

        async with pool.lend() as session:
            replies = await session.submit(envelope(), message(number, lines), mark)
        assert replies.fate is Fate.ANSWERED
        assert replies.dot is not None and replies.dot.text == f"taken {number}"
        ended[number] = number

    async with Scripted(store, server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        completed = turns = number = 0
        while completed < 2:
            number += 1
            await one(pool, number, 0)  # whatever was before, the session in hand is a clean one
            number += 1
            task = asyncio.create_task(one(pool, number, lines))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert pool.busy == 0
            completed += not task.cancelled()
            turns += 1 if turns < 40 else 7
            if not task.cancelled():
                task.result()
        await pool.close(1.0)
    assert turns > 5
    assert len(store.taken) == len(set(store.taken))
    assert set(store.taken) <= marked
    assert set(ended) <= set(store.taken)


async def test_lending_cancelled_after_so_many_turns_of_the_loop(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    standing = 0

    async def serve(peer: Peer) -> None:
        nonlocal standing
        standing += 1
        try:
            await peer.welcome()
            await peer.rest()
        finally:
            standing -= 1

    async def borrow(pool) -> None:
        async with pool.lend():
            pass

    async with Scripted(serve, server_tls).listening() as server:
        turns = 0
        pool = make_pool(server.port)
        while not pool.open:
            task = asyncio.create_task(borrow(pool))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert (pool.busy, pool._opening) == (0, 0)
            turns += 1
        assert turns > 20
        async with asyncio.timeout(2.0):
            while standing > 1:
                await asyncio.sleep(0.005)
        pool.abort()


async def test_cancelled_before_a_word_was_said_the_session_stays(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    class Slow:
        async def chunks(self):
            await asyncio.Event().wait()
            yield b""

    async with Scripted(Store(), server_tls).listening() as server:
        pool = make_pool(server.port)
        async with pool.lend():
            pass
        task = asyncio.create_task(submit(pool, content=Slow()))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() and (pool.open, pool.busy) == (1, 0)
        replies = await submit(pool, content=message(7, 0))
        assert replies.dot is not None and pool.opened == 1
