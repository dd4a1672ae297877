"""Sessions are lent warm or made new, never more than the limit, and end for a stated reason."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.mail.transaction import Fate
from tests.support.manual_clock import ManualClock
from tests.support.scripted_smtp import Peer, Scripted, take_all
from tests.support.smtp_stage import MakePool, Notes, submit, until

DOT = b"\r\n.\r\n"
IDLE_CUT = "the idle session had been closed by the server"


def quits(server: Scripted) -> int:
    return sum(b"QUIT" in peer.heard for peer in server.peers)


# ---------------------------------------------------------------- lending


async def test_a_warm_session_is_lent_again_and_the_one_used_last_first(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port)
        async with pool.lend() as one, pool.lend() as two:
            assert one is not two and (pool.open, pool.busy) == (2, 2)
        assert (pool.open, pool.busy, pool.opened) == (2, 0, 2)
        async with pool.lend() as again:  # "one" came back last
            assert again is one
        assert repr(pool) == "<Pool noreply 0 busy, 2 idle, 0 opening, 0 leaving, of 3>"


async def test_whoever_asks_for_more_than_the_limit_waits_for_a_session_to_come_back(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, limit=1)
        async with pool.lend() as first:
            waiting = asyncio.create_task(submit(pool))
            await asyncio.sleep(0.02)
            assert not waiting.done() and len(server.peers) == 1
        assert (await waiting).dot is not None
        assert first.wire.broken is None and pool.opened == 1


async def test_never_more_connections_than_the_limit(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    now, most = 0, 0

    async def counted(peer: Peer) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            await take_all(peer)
        finally:
            now -= 1

    async with Scripted(counted, server_tls).listening() as server:
        pool = make_pool(server.port, limit=2, age_seconds=0.0)  # too old as soon as it is there
        told = await asyncio.gather(*(submit(pool) for _ in range(12)))
        assert all(replies.dot is not None for replies in told)
        await pool.close(2.0)
    assert most == 2 and pool.opened == 12 and quits(server) == 12


async def test_a_session_that_its_borrower_does_not_use_stays_warm(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port)
        with pytest.raises(RuntimeError, match="the borrower's own"):
            async with pool.lend():
                raise RuntimeError("the borrower's own")
        assert (pool.open, pool.busy) == (1, 0)


# ---------------------------------------------------------------- the server cuts an idle session


@pytest.mark.parametrize(
    "farewell", [b"", b"451 4.7.0 Timeout waiting for client input\r\n", b"421 4.4.1 bye\r\n", b"4"]
)
@pytest.mark.parametrize("end", ["close", "fin", "reset", "stay"])
async def test_an_idle_session_that_the_server_cut_is_not_lent(
    farewell: bytes, end: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    if end == "stay" and not farewell:
        return
    cut = asyncio.Event()

    async def leaves(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.until(DOT)
        await peer.say(b"250 ok\r\n")
        await cut.wait()
        await peer.say(farewell)
        if end != "stay":
            getattr(peer, end)()
        await peer.rest()

    notes = Notes()
    async with Scripted([leaves, take_all], server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        await submit(pool)
        assert pool.open == 1
        cut.set()
        await until(lambda: pool.open == 0)
        replies = await submit(pool)
    assert replies.fate is Fate.ANSWERED and pool.opened == 2
    assert notes.ends[0] in {"lost", "out-of-turn", "closing"}


@pytest.mark.parametrize("farewell", [b"", b"451 4.7.0 Timeout waiting for client input\r\n"])
async def test_a_cut_that_crosses_the_first_flight_says_so(
    farewell: bytes, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def leaves(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.until(DOT)
        await peer.say(b"250 ok\r\n")
        await peer.flight()
        await peer.say(farewell)
        peer.close()

    async with Scripted([leaves, take_all], server_tls).listening() as server:
        pool = make_pool(server.port)
        await submit(pool)
        crossed = await submit(pool)
        assert pool.open == 0
        assert (await submit(pool)).dot is not None
    assert crossed.fate is Fate.NOT_TAKEN and crossed.mail is None
    assert crossed.trouble is not None and crossed.trouble.startswith(IDLE_CUT)


async def test_a_session_may_be_cut_idle_before_its_first_message(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def leaves(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        peer.close()

    async with Scripted(leaves, server_tls).listening() as server:
        pool = make_pool(server.port)
        async with pool.lend():
            pass
        replies = await submit(pool)
    assert replies.fate is Fate.NOT_TAKEN and replies.trouble == IDLE_CUT


async def test_a_cut_on_a_fresh_session_is_no_idle_cut(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def leaves(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        peer.close()

    async with Scripted(leaves, server_tls).listening() as server:
        replies = await submit(make_pool(server.port))
    assert replies.fate is Fate.NOT_TAKEN and replies.trouble == "the server closed the connection"


# ---------------------------------------------------------------- idle, age, surplus


@pytest.mark.parametrize(("idle", "age", "why"), [(100.0, 1000.0, "idle"), (1000.0, 100.0, "age")], ids=["idle", "age"])
@pytest.mark.parametrize("by", ["lending", "tending"])
async def test_a_session_past_its_time_gets_a_goodbye_and_is_replaced(
    idle: float, age: float, why: str, by: str, server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    notes = Notes()
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, idle_seconds=idle, age_seconds=age, clock=clock, observe=notes)
        await submit(pool)
        await clock.advance(99.9)
        await pool.tend()
        assert pool.open == 1 and notes.ends == []
        await clock.advance(0.1)
        if by == "tending":
            await pool.tend()
            assert pool.open == 0
        await submit(pool)
        assert pool.opened == 2
        await until(lambda: quits(server) == 1)
        assert notes.ends == [why]


async def test_use_keeps_a_session_from_growing_idle_but_not_from_growing_old(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    notes = Notes()
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, idle_seconds=100.0, age_seconds=250.0, clock=clock, observe=notes)
        for _ in range(3):
            await submit(pool)
            await clock.advance(90.0)
        assert pool.opened == 1
        await submit(pool)
        assert pool.opened == 2 and notes.ends == ["age"]


async def test_a_server_that_does_not_answer_quit_is_cut(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(peer: Peer) -> None:
        await peer.welcome()
        assert await peer.line() == b"QUIT"
        assert await peer.rest() == b""

    monkeypatch.setattr("app.smtp.pool._QUIT_SECONDS", 0.05)
    async with Scripted([silent, take_all], server_tls).listening() as server:
        pool = make_pool(server.port, limit=1, idle_seconds=100.0, clock=clock)
        async with pool.lend():
            pass
        await clock.advance(100.0)
        assert (await submit(pool)).dot is not None  # waits for the place of the one that leaves


async def test_lowering_the_limit_closes_idle_sessions_and_lent_ones_as_they_come_back(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    notes = Notes()
    async with Scripted(take_all, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        async with pool.lend():
            async with pool.lend(), pool.lend():
                pass
            assert (pool.open, pool.busy, pool.limit) == (3, 1, 3)
            pool.limit = 2
            assert (pool.open, pool.busy) == (2, 1)
            async with pool.lend():
                pool.limit = 1
                assert (pool.open, pool.busy) == (2, 2)
            assert (pool.open, pool.busy) == (1, 1)
        assert (pool.open, pool.busy) == (1, 0)
        await until(lambda: quits(server) == 2)
        assert notes.ends == ["surplus", "surplus"]
        pool.limit = 3
        async with pool.lend(), pool.lend():
            assert pool.open == 2
