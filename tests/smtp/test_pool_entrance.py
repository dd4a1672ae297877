"""Sign-ins of a pool: one failure for one wrong credential, and sessions that end with their tokens."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest

from app.mail.credential import TokenCredential
from app.mail.transaction import ConnectTrouble, SignInRefused
from tests.support.manual_clock import ManualClock
from tests.support.scripted_smtp import Peer, Scripted, converse, take_all, take_all_by_token
from tests.support.smtp_stage import USER, MakePool, Notes, Tokens, access_token, submit, until

# ---------------------------------------------------------------- tokens


async def test_a_session_ends_ahead_of_its_token_when_a_fresh_one_is_to_be_had(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    source = Tokens(access_token("one", ends_at=clock.boot() + 3600.0))
    notes = Notes()
    async with Scripted(take_all_by_token, server_tls).listening() as server:
        pool = make_pool(
            server.port,
            credential=TokenCredential(USER, source),
            idle_seconds=1e6,
            age_seconds=1e6,
            clock=clock,
            observe=notes,
        )
        await submit(pool)
        await clock.advance(2999.0)
        await pool.tend()
        assert pool.open == 1 and len(source.asked) == 1  # not asked before the margin
        source.renew(access_token("two", ends_at=clock.boot() + 3600.0))
        await clock.advance(2.0)
        await pool.tend()
        assert pool.open == 0 and notes.ends == ["token"]
        await submit(pool)
        assert pool.opened == 2


@pytest.mark.parametrize("problem", [None, ConnectTrouble("token", "away"), SignInRefused("AADSTS7000222", "ended")])
async def test_without_a_fresh_token_a_session_lives_until_its_own_ends(
    problem: Exception | None, server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    source = Tokens(access_token("one", ends_at=clock.boot() + 3600.0))
    notes = Notes()
    async with Scripted(take_all_by_token, server_tls).listening() as server:
        pool = make_pool(
            server.port,
            credential=TokenCredential(USER, source),
            idle_seconds=1e6,
            age_seconds=1e6,
            clock=clock,
            observe=notes,
        )
        await submit(pool)
        if problem is not None:
            source._given = [problem]
        await clock.advance(3599.0)
        await pool.tend()
        assert (await submit(pool)).dot is not None and pool.opened == 1
        await clock.advance(1.0)
        await pool.tend()
        assert pool.open == 0 and notes.ends == ["token"]


async def test_a_busy_session_is_replaced_by_its_margin_too(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    source = Tokens(access_token("one", ends_at=clock.boot() + 3600.0))
    async with Scripted(take_all_by_token, server_tls).listening() as server:
        pool = make_pool(
            server.port, credential=TokenCredential(USER, source), idle_seconds=1e6, age_seconds=1e6, clock=clock
        )
        async with pool.lend():
            await clock.advance(3000.0)
            source.renew(access_token("two", ends_at=clock.boot() + 3600.0))
            await pool.tend()
            assert pool.open == 1
        assert pool.open == 0


# ---------------------------------------------------------------- the gate


async def test_one_wrong_password_is_one_failure_however_many_ask(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.greet()
        await peer.line()
        await peer.say(b"334 UGFzc3dvcmQ6\r\n")
        await peer.line()
        await asyncio.sleep(0.03)
        await peer.say(b"535 5.7.139 Authentication unsuccessful\r\n")
        await peer.rest()

    notes = Notes()
    async with Scripted(refuse, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        told = await asyncio.gather(*(submit(pool) for _ in range(3)), return_exceptions=True)
        assert [type(problem) for problem in told] == [SignInRefused] * 3
        assert len(server.peers) == 1 and notes.failed == ["sign-in"]
        with pytest.raises(SignInRefused):  # whoever asks later is tried
            await submit(pool)
        assert len(server.peers) == 2


async def test_sign_ins_run_one_at_a_time_until_one_has_succeeded_then_together(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    under_way, most = 0, [0, 0]
    done = 0

    async def counted(peer: Peer) -> None:
        nonlocal under_way, done
        under_way += 1
        most[done > 0] = max(most[done > 0], under_way)
        await asyncio.sleep(0.03)
        await peer.welcome()
        under_way -= 1
        done += 1
        await converse(peer)

    async with Scripted(counted, server_tls).listening() as server:
        pool = make_pool(server.port)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(hold(pool, lambda: pool.opened == 3))
    assert most == [1, 2]


async def hold(pool, condition: Callable[[], bool]) -> None:
    async with pool.lend():
        await until(condition)


async def test_who_waits_at_the_gate_for_one_that_gives_up_tries_himself(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def stall(peer: Peer) -> None:
        await peer.rest()

    async with Scripted([stall, take_all], server_tls).listening() as server:
        pool = make_pool(server.port)
        first, second = asyncio.create_task(submit(pool)), asyncio.create_task(submit(pool))
        await until(lambda: server.peers)
        first.cancel()
        assert (await second).dot is not None
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (pool.open, pool.opened) == (1, 1)


async def test_after_a_refusal_sign_ins_are_careful_again(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    """A password that changed while a session stands is one failure, too."""

    async def refuse(peer: Peer) -> None:
        await peer.greet()
        await peer.line()
        await peer.say(b"535 5.7.139 no\r\n")
        await peer.rest()

    async with Scripted([take_all, refuse], server_tls).listening() as server:
        pool = make_pool(server.port)
        async with pool.lend():
            with pytest.raises(SignInRefused):
                await submit(pool)
            told = await asyncio.gather(submit(pool), submit(pool), return_exceptions=True)
            assert [type(problem) for problem in told] == [SignInRefused] * 2
            assert len(server.peers) == 3
