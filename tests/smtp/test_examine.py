"""An examination takes one session's place, waits for its turn, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.kit.clock import SystemClock
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.examine import Stage, certificate_of, examine
from tests.support.scripted_smtp import Peer, Scripted, take_all
from tests.support.smtp_stage import MakePool, submit, until

CLOCK = SystemClock()


async def answer_everything(peer: Peer) -> None:
    """Take mail, or only look on, as the client likes."""
    await peer.greet()
    while (line := await peer.line()) != b"QUIT":
        if line.startswith(b"AUTH"):
            await peer.say(b"334 UGFzc3dvcmQ6\r\n")
            await peer.line()
            await peer.say(b"235 2.7.0 Authentication successful\r\n")
    await peer.say(b"221 2.0.0 bye\r\n")
    peer.close()


async def test_an_idle_session_makes_way_and_the_limit_holds(make_pool: MakePool, server_tls: ssl.SSLContext) -> None:
    async with Scripted([take_all, answer_everything], server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        await submit(pool)
        found = await examine(pool, CLOCK, lambda: True)
        assert found.broke_at is None
        assert found.signed_in_seconds is not None
        assert pool.open == 0
        assert [b"QUIT" in peer.heard for peer in server.peers if peer.heard] == [True, True, True]


async def test_it_waits_for_a_lent_session_and_goes_before_those_who_want_the_next(
    make_pool: MakePool, server_tls: ssl.SSLContext
) -> None:
    async with Scripted([take_all, answer_everything], server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        async with pool.lend():
            looking = asyncio.create_task(examine(pool, CLOCK, lambda: False))
            await asyncio.sleep(0)
            assert not looking.done()
            assert len(server.peers) == 1
        found = await looking
        assert found.broke_at is None
        assert found.signed_in_seconds is None
        assert pool.open == 0


async def test_one_that_is_cancelled_while_it_waits_gives_its_place_back(
    make_pool: MakePool, server_tls: ssl.SSLContext
) -> None:
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        async with pool.lend():
            looking = asyncio.create_task(examine(pool, CLOCK, lambda: False))
            await asyncio.sleep(0)
            looking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await looking
        await submit(pool)


async def test_one_that_is_cancelled_on_its_way_leaves_no_connection(
    make_pool: MakePool, server_tls: ssl.SSLContext
) -> None:
    gone = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.rest()
        gone.set()

    async with Scripted(silent, server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        looking = asyncio.create_task(examine(pool, CLOCK, lambda: True))
        await until(lambda: len(server.peers) == 2)
        gone.clear()
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        await asyncio.wait_for(gone.wait(), 3)


async def test_a_pool_that_is_closed_lets_nobody_look(make_pool: MakePool, server_tls: ssl.SSLContext) -> None:
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port)
        await pool.close(1.0)
        found = await examine(pool, CLOCK, lambda: False)
        assert (found.broke_at, server.peers) == (Stage.DNS, [])
        assert isinstance(found.trouble, ConnectTrouble)
        assert found.trouble.reason == "closed"


async def test_whether_to_sign_in_is_asked_when_it_comes_to_that(
    make_pool: MakePool, server_tls: ssl.SSLContext
) -> None:
    asked: list[int] = []

    def signs_in() -> bool:
        asked.append(sum(len(peer.heard) for peer in server.peers))
        return False

    async with Scripted(answer_everything, server_tls).listening() as server:
        found = await examine(make_pool(server.port), CLOCK, signs_in)
        assert (found.broke_at, found.signed_in_seconds) == (None, None)
        assert len(asked) == 1
        assert asked[0] >= len((b"EHLO", b"STARTTLS", b"EHLO"))


async def test_a_refused_sign_in_is_told_with_its_step(make_pool: MakePool, server_tls: ssl.SSLContext) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.greet()
        if (await peer.line()).startswith(b"AUTH"):
            await peer.say(b"535 5.7.3 Authentication unsuccessful\r\n")

    async with Scripted(refuse, server_tls).listening() as server:
        found = await examine(make_pool(server.port), CLOCK, lambda: True)
        assert found.broke_at is Stage.AUTH
        assert isinstance(found.trouble, SignInRefused)


def test_what_is_no_certificate_is_not_read() -> None:
    assert certificate_of(b"nonsense") is None
