"""Stories of one transaction, octet for octet: the order of things, the fence before the dot, refused envelopes."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.mail.reply import Phase
from app.mail.transaction import Fate, Replies
from app.smtp import Timeouts
from tests.support.scripted_smtp import TLS_EHLO, Peer, Scripted
from tests.support.smtp_stage import SMALL, SMALL_ON_WIRE, TIMEOUTS, MakePool, Mark, Notes, Octets, envelope, submit

NO_PIPELINING = TLS_EHLO.replace(b"250-PIPELINING\r\n", b"")
DOT = b"\r\n.\r\n"
LINE = b"x" * 76 + b"\r\n"


def words(replies: Replies) -> list[str | None]:
    return [str(reply) if reply else None for reply in (replies.mail, *replies.recipients, replies.data, replies.dot)]


# ---------------------------------------------------------------- the order of things


async def test_a_small_message_takes_two_round_trips(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        for number in (1, 2):
            heard.extend(await peer.accept(recipients=2))  # nothing was answered before DATA had come
            heard.append(await peer.until(DOT))
            await peer.say(b"250 2.0.0 OK <%d@example.com> [Hostname=X]\r\n" % number)
        await peer.rest()

    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        first = await submit(pool, envelope("anna@example.org", "bert@example.org"))
        second = await submit(pool, envelope("anna@example.org", "bert@example.org"))
        assert pool.open == 1 and pool.opened == 1 and pool.busy == 0

    flight = [
        b"RSET",
        b"MAIL FROM:<noreply@example.com> SIZE=53",
        b"RCPT TO:<anna@example.org>",
        b"RCPT TO:<bert@example.org>",
        b"DATA",
        SMALL_ON_WIRE,
    ]
    assert heard == flight * 2
    assert first.fate is second.fate is Fate.ANSWERED
    assert words(first) == [
        "250 2.1.0 sender",
        "250 2.1.5 recipient",
        "250 2.1.5 recipient",
        "354 go",
        "250 2.0.0 OK <1@example.com> [Hostname=X]",
    ]
    assert first.trouble is None and first.incident is None
    assert len(notes.transactions) == 2 and notes.sign_ins == 1
    assert notes.connections == ["scripted.example ESMTP ready [08DE0000000000AA]"]


@pytest.mark.parametrize("how", ["not offered", "switched off"])
async def test_without_pipelining_one_command_at_a_time(
    how: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(NO_PIPELINING if how == "not offered" else TLS_EHLO)
        for answer in (b"250 reset\r\n", b"250 sender\r\n", b"250 one\r\n", b"550 5.1.1 two\r\n", b"354 go\r\n"):
            heard.append(await peer.line())
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(peer.octets(1), 0.02)
            await peer.say(answer)
        heard.append(await peer.until(DOT))
        await peer.say(b"250 2.0.0 taken\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, pipelining=how == "not offered")
        mark = Mark()
        replies = await submit(pool, envelope("anna@example.org", "bert@example.org"), mark=mark)
        assert pool.open == 1
    assert [line.split(b":")[0] for line in heard[:5]] == [b"RSET", b"MAIL FROM", b"RCPT TO", b"RCPT TO", b"DATA"]
    assert heard[5] == SMALL_ON_WIRE
    assert words(replies) == ["250 sender", "250 one", "550 5.1.1 two", "354 go", "250 2.0.0 taken"]
    assert mark.asked == 1


async def test_a_session_is_reused_after_every_refusal(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        await peer.say(b"250 r\r\n552 5.3.4 size\r\n503 5.5.1 mail first\r\n503 5.5.1 mail first\r\n")
        await peer.flight()
        await peer.say(b"250 r\r\n250 s\r\n550 5.1.1 nobody\r\n554 5.5.1 no valid recipients\r\n")
        await peer.flight()
        await peer.say(b"250 r\r\n250 s\r\n250 t\r\n451 4.3.0 not now\r\n")
        await peer.accept()
        await peer.until(DOT)
        await peer.say(b"554-5.2.252 SendAsDenied;\r\n554 5.2.252 " + b"diagnostic " * 280 + b"\r\n")
        await peer.accept()
        await peer.until(DOT)
        await peer.say(b"250 2.0.0 taken\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        told = [await submit(pool) for _ in range(5)]
        assert pool.open == 1 and pool.opened == 1
    assert [replies.fate for replies in told] == [Fate.ANSWERED] * 5
    assert all(replies.trouble is None and replies.incident is None for replies in told)
    assert words(told[0]) == ["552 5.3.4 size", "503 5.5.1 mail first", "503 5.5.1 mail first", None]
    assert words(told[1]) == ["250 s", "550 5.1.1 nobody", "554 5.5.1 no valid recipients", None]
    assert words(told[2]) == ["250 s", "250 t", "451 4.3.0 not now", None]
    dot = told[3].dot
    assert dot is not None and dot.code == 554 and dot.enhanced == "5.2.252" and dot.phase is Phase.DOT
    assert dot.text.startswith("SendAsDenied; diagnostic diagnostic") and len(dot.text) > 3000
    assert told[4].dot is not None


async def test_refused_one_command_at_a_time_nothing_more_is_said(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(NO_PIPELINING)
        for answer in (b"250 r\r\n", b"550 5.7.60 not as this sender\r\n", b"250 r\r\n", b"250 s\r\n", b"550 no\r\n"):
            heard.append(await peer.line())
            await peer.say(answer)
        heard.append(await peer.line())
        await peer.say(b"221 bye\r\n")

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        mark = Mark()
        first, second = await submit(pool, mark=mark), await submit(pool, mark=mark)
        await pool.close(1.0)
    assert words(first) == ["550 5.7.60 not as this sender", None, None, None]
    assert words(second) == ["250 s", "550 no", None, None]
    assert first.fate is second.fate is Fate.ANSWERED
    assert mark.asked == 0
    assert [line[:4] for line in heard] == [b"RSET", b"MAIL", b"RSET", b"MAIL", b"RCPT", b"QUIT"]


# ---------------------------------------------------------------- our own side


async def test_content_that_cannot_be_read_touches_no_wire(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.until(DOT)
        await peer.say(b"250 ok\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        mark = Mark()
        failed = await submit(pool, content=Octets(failure=OSError("disk")), mark=mark)
        assert pool.open == 1 and mark.asked == 0
        assert (await submit(pool)).dot is not None
        assert pool.opened == 1
    assert failed.fate is Fate.NOT_TAKEN
    assert failed.trouble == "the content could not be read (OSError)"


async def test_content_that_fails_in_the_middle_is_cut(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        assert DOT not in await peer.rest()

    content = Octets(*[LINE * 1000] * 3, failure=OSError("disk"))
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        mark = Mark()
        replies = await submit(pool, content=content, mark=mark)
        assert pool.open == 0
    assert replies.fate is Fate.NOT_TAKEN and mark.asked == 0
    assert replies.trouble == "the content could not be read (OSError)"


async def test_an_address_that_cannot_be_said_is_a_fault_of_ours_and_told_without_it(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        assert await peer.line() == b"QUIT"
        await peer.say(b"221 bye\r\n")

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        replies = await submit(pool, envelope("a@b>\r\nRCPT TO:<c@d"))
        await pool.close(1.0)
    assert replies.fate is Fate.NOT_TAKEN
    assert replies.trouble == "an internal error (ValueError)"


async def test_smtputf8_is_said_where_it_is_offered(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        flight = await peer.accept()
        assert flight[1:3] == [
            b"MAIL FROM:<noreply@example.com> SIZE=53 BODY=8BITMIME SMTPUTF8",
            "RCPT TO:<jürgen@example.org>".encode(),
        ]
        await peer.until(DOT)
        await peer.say(b"250 ok\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        replies = await submit(make_pool(server.port), envelope("jürgen@example.org", smtputf8=True))
    assert replies.dot is not None


async def test_smtputf8_where_it_is_not_offered_is_refused_here(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(TLS_EHLO.replace(b"250-SMTPUTF8\r\n", b""))
        assert await peer.line() == b"QUIT"
        await peer.say(b"221 bye\r\n")

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        replies = await submit(pool, envelope("jürgen@example.org", smtputf8=True))
        await pool.close(1.0)
    assert replies.fate is Fate.ANSWERED
    assert replies.mail is not None and (replies.mail.code, replies.mail.enhanced) == (553, "5.6.7")


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("phase", ["command", "final"])
async def test_each_phase_has_its_own_time(phase: str, server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    """The other phases may take longer than the one that is short."""
    slow = 0.28

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        await asyncio.sleep(0.0 if phase == "command" else slow)
        await peer.say(b"250 r\r\n250 s\r\n250 t\r\n354 go\r\n")
        await peer.until(DOT)
        await asyncio.sleep(0.0 if phase == "final" else slow)
        await peer.say(b"250 ok\r\n")
        await peer.rest()

    short = {"command": Timeouts(5.0, 0.2, 5.0, 5.0), "final": Timeouts(5.0, 5.0, 5.0, 0.2)}[phase]
    async with Scripted(script, server_tls).listening() as server:
        assert (await submit(make_pool(server.port, timeouts=short))).fate is Fate.ANSWERED


async def test_a_slow_reply_within_the_time_is_waited_for_in_pieces(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        for octet in b"250 r\r\n250-s\r\n250 s\r\n250 t\r\n354 go\r\n":
            await peer.say(bytes([octet]))
        await peer.until(DOT)
        for octet in b"250 ok\r\n":
            await peer.say(bytes([octet]))
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        replies = await submit(make_pool(server.port, timeouts=TIMEOUTS))
    assert words(replies) == ["250 s s", "250 t", "354 go", "250 ok"]


def test_the_stage_is_set() -> None:
    assert SMALL.replace(b"\r\n.", b"\r\n..") + b".\r\n" == SMALL_ON_WIRE
