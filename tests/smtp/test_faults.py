"""Every fault at every phase: the fate is stated, no dot leaves before its time, and the session is lent no more."""

from __future__ import annotations

import asyncio
import ssl
from itertools import product

import pytest

from app.mail.transaction import Fate
from app.smtp import Timeouts
from tests.support.scripted_smtp import TLS_EHLO, Peer, Scripted
from tests.support.smtp_stage import SMALL_ON_WIRE, TIMEOUTS, MakePool, Notes, Octets, envelope, submit

ORDER = ("rset", "mail", "rcpt", "data", "dot")
ANSWERS = {
    "rset": b"250 2.0.0 reset\r\n",
    "mail": b"250 2.1.0 sender\r\n",
    "rcpt": b"250 2.1.5 recipient\r\n",
    "data": b"354 go\r\n",
    "dot": b"250 2.0.0 taken\r\n",
}
# What the server says at the phase, how it ends, and the word under which the session ends.
FAULTS = {
    "fin": (b"", "fin", "lost"),
    "close": (b"", "close", "lost"),
    "reset": (b"", "reset", "lost"),
    "half-reply": (b"250 2.0", "close", "lost"),
    "half-multiline": (b"250-2.0.0 one\r\n", "fin", "lost"),
    "stall": (b"", "stall", "timeout"),
    "stall-half": (b"250 2.0.0 o", "stall", "timeout"),
    "bare-lf": (b"250 2.0.0 OK\n", "stall", "malformed"),
    "two-codes": (b"250-one\r\n451 two\r\n", "stall", "malformed"),
    "no-reply": (b"hello there\r\n", "stall", "malformed"),
    "over-long": (b"250 " + b"x" * 8200 + b"\r\n", "stall", "malformed"),
    "endless": (b"x" * 9000, "stall", "malformed"),
    "continued-for-ever": (b"250-x\r\n" * 1300, "stall", "malformed"),
}
SHORT = Timeouts(connect=5.0, command=0.1, data=0.1, final=0.1)


def script_of(phase: str, said: bytes, end: str, *, is_pipelined: bool):
    async def script(peer: Peer) -> None:
        await peer.welcome(TLS_EHLO if is_pipelined else TLS_EHLO.replace(b"250-PIPELINING\r\n", b""))
        if is_pipelined:
            await peer.flight()
        for each in ORDER:
            if each == "dot":
                assert await peer.until(b"\r\n.\r\n") == SMALL_ON_WIRE
            elif not is_pipelined:
                await peer.line()
            if each == phase:
                break
            await peer.say(ANSWERS[each])
        await peer.say(said)
        if end != "stall":
            getattr(peer, end)()
        if end != "reset":
            rest = await peer.rest()
            assert phase == "dot" or b"\r\n.\r\n" not in rest

    return script


@pytest.mark.parametrize("is_pipelined", [True, False], ids=["pipelined", "lock-step"])
@pytest.mark.parametrize(("phase", "fault"), list(product(ORDER, FAULTS)))
async def test_a_fault_at_a_phase(
    phase: str, fault: str, is_pipelined: bool, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    said, end, word = FAULTS[fault]
    notes = Notes()
    async with Scripted(script_of(phase, said, end, is_pipelined=is_pipelined), server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes, timeouts=SHORT if end == "stall" else TIMEOUTS)
        replies = await submit(pool)
        assert pool.open == pool.busy == 0
    assert notes.ends == [word]
    assert replies.fate is (Fate.UNANSWERED if phase == "dot" else Fate.NOT_TAKEN)
    assert replies.trouble and replies.incident is None and replies.dot is None
    if fault == "reset":
        return  # what had been said before may be lost with the connection
    came = ORDER.index(phase)
    assert (replies.mail is not None, replies.recipients[0] is not None, replies.data is not None) == (
        came > 1,
        came > 2,
        came > 3,
    )


@pytest.mark.parametrize("is_pipelined", [True, False], ids=["pipelined", "lock-step"])
@pytest.mark.parametrize("phase", ORDER)
async def test_a_421_is_the_reply_of_its_phase_and_ends_the_session(
    phase: str, is_pipelined: bool, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    said = b"421 4.3.2 Service not active\r\n"
    notes = Notes()
    async with Scripted(script_of(phase, said, "stall", is_pipelined=is_pipelined), server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        replies = await submit(pool)
        assert pool.open == 0
    assert notes.ends == ["closing"]
    came = [None, replies.mail, replies.recipients[0], replies.data, replies.dot]
    if phase != "rset":
        assert str(came[ORDER.index(phase)]) == "421 4.3.2 Service not active"
    assert came[ORDER.index(phase) + 1 :] == [None] * (4 - ORDER.index(phase))
    if phase == "dot":
        assert replies.fate is Fate.ANSWERED and replies.trouble is None
    else:
        assert replies.fate is Fate.NOT_TAKEN
        assert replies.trouble == "the server closed the session: 421 4.3.2 Service not active"


@pytest.mark.parametrize("phase", ["rset", "mail", "rcpt", "data"])
@pytest.mark.parametrize("extra", [b"250 2.0.0 and one more\r\n", b"25"], ids=["a reply too many", "octets too many"])
async def test_octets_out_of_turn_before_the_dot_prevent_it(
    phase: str, extra: bytes, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    """One command at a time, so that it is known to which command the surplus came."""
    script = script_of(phase, ANSWERS[phase] + extra, "stall", is_pipelined=False)
    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        replies = await submit(pool)
        assert pool.open == 0
    assert replies.fate is Fate.NOT_TAKEN
    assert notes.ends == ["out-of-turn"]


@pytest.mark.parametrize(
    ("extra", "end"),
    [
        (b"250 2.0.0 and one more\r\n", "stall"),
        (b"jun", "stall"),
        (b"junk\n", "stall"),
        (b"x" * 9000, "stall"),
        (b"", "fin"),
        (b"", "close"),
        (b"250 2.", "fin"),
    ],
)
@pytest.mark.parametrize("verdict", [b"250-2.0.0 taken\r\n250 2.0.0 really\r\n", b"554 5.2.0 refused\r\n"])
async def test_a_complete_reply_to_the_dot_counts_whatever_follows(
    verdict: bytes, extra: bytes, end: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    script = script_of("dot", verdict + extra, end, is_pipelined=True)
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        replies = await submit(pool)
        if extra:
            assert pool.open == 0
    assert replies.fate is Fate.ANSWERED and replies.trouble is None
    assert replies.dot is not None and replies.dot.code == int(verdict[:3])


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"552 5.3.4 too big\r\n", "the server spoke out of turn: 552 5.3.4 too big"),
        (b"421 4.4.1 Connection timed out\r\n", "the server closed the session: 421 4.4.1 Connection timed out"),
        (b"55", "the server spoke out of turn"),
        (b"", "the server closed the connection"),
    ],
)
async def test_a_server_that_speaks_or_leaves_during_the_content_gets_no_dot(
    said: bytes, trouble: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.octets(100_000)
        await peer.say(said)
        if not said:
            peer.fin()
        assert not (await peer.rest()).endswith(b"\r\n.\r\n")

    line = b"x" * 76 + b"\r\n"
    content = Octets(*(line * 1000 for _ in range(20)))
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        async with pool.lend() as session:
            # The mark is asked for when all but the end has been written; the server has spoken by then.
            async def late_mark() -> bool:
                while session.wire.broken is None:
                    await asyncio.sleep(0.005)
                return True

            replies = await session.submit(envelope(), content, late_mark)
        assert pool.open == 0
    assert replies.fate is Fate.NOT_TAKEN and replies.trouble == trouble
