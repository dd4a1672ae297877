"""How a pool ends: QUIT to each session, or all of them cut."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.mail.credential import TokenCredential
from app.mail.transaction import ConnectTrouble, Fate
from tests.support.manual_clock import ManualClock
from tests.support.scripted_smtp import Peer, Scripted, take_all, take_all_by_token
from tests.support.smtp_stage import USER, MakePool, Notes, Tokens, access_token, submit

DOT = b"\r\n.\r\n"


def quits(server: Scripted) -> int:
    return sum(b"QUIT" in peer.heard for peer in server.peers)


# ---------------------------------------------------------------- the end


async def test_close_says_quit_to_each_and_lends_no_more(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    notes = Notes()
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        async with pool.lend(), pool.lend():
            pass
        await pool.close(2.0)
        assert quits(server) == 2 and pool.open == 0 and notes.ends == ["shutdown", "shutdown"]
        with pytest.raises(ConnectTrouble) as caught:
            async with pool.lend():
                pass
        assert caught.value.reason == "closed"
        await pool.close(2.0)


async def test_close_waits_for_lent_sessions_and_refuses_who_waits(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        async with pool.lend():
            waiting = asyncio.create_task(submit(pool))
            await asyncio.sleep(0)
            closing = asyncio.create_task(pool.close(2.0))
            with pytest.raises(ConnectTrouble):
                await waiting
            assert not closing.done()
        await closing
        assert quits(server) == 1


async def test_close_cuts_what_takes_too_long_over_its_goodbye(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def silent(peer: Peer) -> None:
        await peer.welcome()
        await peer.rest()

    async with Scripted(silent, server_tls).listening() as server:
        pool = make_pool(server.port)
        async with pool.lend():
            pass
        began = asyncio.get_running_loop().time()
        await pool.close(0.05)
        assert asyncio.get_running_loop().time() - began < 1.0
        assert repr(pool).startswith("<Pool noreply 0 busy, 0 idle, 0 opening, 0 leaving")


async def test_abort_cuts_idle_lent_and_half_open_sessions(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    stalled = asyncio.Event()

    async def stall(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        stalled.set()
        assert DOT not in await peer.rest()

    async def half_open(peer: Peer) -> None:
        await peer.greet()
        stalled.set()
        await peer.rest()

    notes = Notes()
    async with Scripted([take_all, stall, half_open, take_all], server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        async with pool.lend():  # idle afterwards

            async def never() -> bool:
                await asyncio.Event().wait()
                return True

            lent = asyncio.create_task(submit(pool, mark=never))
            await stalled.wait()
        stalled.clear()
        async with pool.lend():
            opening = asyncio.create_task(submit(pool))
            await stalled.wait()
        assert (pool.open, pool.busy) == (2, 1)
        pool.abort()
        assert pool.open == 1  # the lent one comes back by its borrower
        with pytest.raises(ConnectTrouble) as caught:
            await opening
        assert caught.value.reason == "closed"
        lent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lent
        assert (pool.open, pool.busy) == (0, 0)
        assert notes.ends == ["aborted", "aborted"]
        assert (await submit(pool)).dot is not None  # and the pool is still good


async def test_abort_ends_a_transaction_with_a_stated_fate(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    written = asyncio.Event()

    async def stall(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.until(DOT)
        written.set()
        await peer.rest()

    async with Scripted(stall, server_tls).listening() as server:
        pool = make_pool(server.port)
        task = asyncio.create_task(submit(pool))
        await written.wait()
        pool.abort()
        replies = await task
    assert replies.fate is Fate.UNANSWERED and replies.trouble == "the session was cut by us"


async def test_an_abort_while_a_token_is_waited_for_opens_nothing_later(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    go = asyncio.Event()

    class Slow(Tokens):
        async def token(self, *, fresh: bool = False):
            await go.wait()
            return await super().token(fresh=fresh)

    async with Scripted(take_all_by_token, server_tls).listening() as server:
        pool = make_pool(server.port, credential=TokenCredential(USER, Slow(access_token())), clock=clock)
        task = asyncio.create_task(submit(pool))
        await asyncio.sleep(0.01)
        pool.abort()
        go.set()
        with pytest.raises(ConnectTrouble, match="cut by us"):
            await task
        assert server.peers == []
