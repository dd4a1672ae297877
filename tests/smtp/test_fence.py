"""The fence before the dot, and envelopes that were refused: no dot without a mark, no message by mistake."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.mail.transaction import Fate, Replies
from app.smtp import Timeouts
from tests.support.scripted_smtp import TLS_EHLO, Peer, Script, Scripted
from tests.support.smtp_stage import MakePool, Mark, Notes, Octets, envelope, submit

NO_PIPELINING = TLS_EHLO.replace(b"250-PIPELINING\r\n", b"")
DOT = b"\r\n.\r\n"
LINE = b"x" * 76 + b"\r\n"


def large(kilobytes: int) -> Octets:
    """A content of more than one write, in chunks as the store gives them."""
    return Octets(*[LINE * 128 for _ in range(kilobytes // 10 + 1)])


def words(replies: Replies) -> list[str | None]:
    return [str(reply) if reply else None for reply in (replies.mail, *replies.recipients, replies.data, replies.dot)]


# ---------------------------------------------------------------- the fence before the dot


async def test_the_mark_of_a_small_message_is_committed_while_the_envelope_is_under_way(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    mark = Mark()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        while not mark.asked:  # a server that answers only when the mark has been asked for
            await asyncio.sleep(0.001)
        await peer.say(b"250 r\r\n250 s\r\n250 t\r\n354 go\r\n")
        await peer.until(DOT)
        await peer.say(b"250 ok\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        replies = await submit(make_pool(server.port), mark=mark)
    assert replies.dot is not None and mark.asked == 1


@pytest.mark.parametrize("content", [Octets(), large(200)], ids=["small", "large"])
@pytest.mark.parametrize("ehlo", [TLS_EHLO, NO_PIPELINING], ids=["pipelined", "lock-step"])
async def test_the_dot_waits_for_the_mark_and_comes_with_the_end_of_the_content(
    content: Octets, ehlo: bytes, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    mark = Mark(is_held=True)
    whole = b"".join([chunk async for chunk in content.chunks()])
    wire = whole.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    ahead = 0 if len(whole) <= 65_536 else len(whole) - 65_536
    got = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.welcome(ehlo)
        if ehlo == TLS_EHLO:
            await peer.accept()
        else:
            for answer in (b"250 r\r\n", b"250 s\r\n", b"250 t\r\n", b"354 go\r\n"):
                await peer.line()
                await peer.say(answer)
        head = await peer.octets(ahead) if ahead else b""
        late = asyncio.ensure_future(peer.until(DOT))
        await asyncio.wait({late}, timeout=0.05)
        assert not late.done()
        mark.go.set()
        tail = await late
        got.set_result((head, tail))
        await peer.say(b"250 ok\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        replies = await submit(make_pool(server.port), content=content, mark=mark)
        head, tail = await got
    assert replies.fate is Fate.ANSWERED and mark.asked == 1
    assert head + tail == wire
    assert len(tail) <= 65_536 + 3


@pytest.mark.parametrize("content", [Octets(), large(200)], ids=["small", "large"])
@pytest.mark.parametrize("ehlo", [TLS_EHLO, NO_PIPELINING], ids=["pipelined", "lock-step"])
@pytest.mark.parametrize(
    ("mark", "trouble"),
    [
        (lambda: Mark(granted=False), "the hand-over mark was refused"),
        (lambda: Mark(failure=OSError("the password is swordfish")), "the hand-over mark failed (OSError)"),
        (lambda: Mark(is_held=True), "the hand-over mark did not come in time"),
    ],
    ids=["refused", "failed", "late"],
)
async def test_without_the_mark_there_is_no_dot(
    mark, trouble: str, ehlo: bytes, content: Octets, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    rest = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.welcome(ehlo)
        if ehlo == TLS_EHLO:
            await peer.accept()
        else:
            for answer in (b"250 r\r\n", b"250 s\r\n", b"250 t\r\n", b"354 go\r\n"):
                await peer.line()
                await peer.say(answer)
        rest.set_result(await peer.rest())

    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes, timeouts=Timeouts(5.0, 0.2, 5.0, 5.0))
        replies = await submit(pool, content=content, mark=mark())
        said = await rest
        assert pool.open == 0
    assert replies.fate is Fate.WITHHELD and replies.trouble == trouble and replies.dot is None
    assert DOT not in said and not said.endswith(b".\r\n")
    assert notes.ends == ["withheld"]


async def test_the_mark_of_a_refused_small_message_does_no_harm(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight()
        await peer.say(b"250 r\r\n250 s\r\n550 5.1.1 nobody\r\n554 none\r\n")
        assert await peer.line() == b"QUIT"
        await peer.say(b"221 bye\r\n")

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        mark = Mark()
        replies = await submit(pool, mark=mark)
        await pool.close(1.0)
    assert mark.asked == 1 and replies.fate is Fate.ANSWERED and replies.dot is None


# ---------------------------------------------------------------- refused envelopes, and yet 354


def after_flight(answer: bytes, follow: Script, recipients: int = 1) -> Script:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.flight(recipients)
        await peer.say(answer)
        await follow(peer)

    return script


async def test_mail_refused_and_yet_354_is_cut_without_a_dot(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def follow(peer: Peer) -> None:
        assert await peer.rest() == b""

    script = after_flight(b"250 r\r\n503 5.5.1 nested MAIL\r\n250 t\r\n354 go\r\n", follow)
    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, observe=notes)
        replies = await submit(pool)
        assert pool.open == 0
    assert replies.fate is Fate.ANSWERED and replies.dot is None
    assert words(replies)[0] == "503 5.5.1 nested MAIL"
    assert replies.incident == "354 to DATA although MAIL was refused (503 5.5.1 nested MAIL)"
    assert notes.ends == ["confused"]


@pytest.mark.parametrize(
    ("verdict", "incident", "stands"),
    [
        (b"554 5.5.1 no valid recipients\r\n", None, True),
        (
            b"250 2.0.0 taken\r\n",
            "every recipient was refused, and yet the empty message was taken (250 2.0.0 taken)",
            True,
        ),
        (b"", None, False),
    ],
    ids=["refused", "taken", "cut"],
)
async def test_every_recipient_refused_and_yet_354_gets_a_lone_dot(
    verdict: bytes, incident: str | None, stands: bool, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def follow(peer: Peer) -> None:
        assert await peer.octets(3) == b".\r\n"
        if verdict:
            await peer.say(verdict)
            assert await peer.line() == b"RSET"
        else:
            peer.close()

    script = after_flight(b"250 r\r\n250 s\r\n550 5.1.1 a\r\n450 4.2.0 b\r\n354 go\r\n", follow, recipients=2)
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        replies = await submit(pool, envelope("a@example.org", "b@example.org"))
        assert pool.open == stands
        if stands:
            again = await submit(pool)
            assert again.fate is Fate.NOT_TAKEN
    assert replies.fate is Fate.ANSWERED
    assert words(replies) == ["250 s", "550 5.1.1 a", "450 4.2.0 b", "354 go", None]
    assert replies.incident == incident


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"250 r\r\n354 go\r\n250 t\r\n354 go\r\n", "a reply that answers nothing (354 go)"),
        (b"250 r\r\n250 s\r\n334 t\r\n354 go\r\n", "a reply that answers nothing (334 t)"),
        (b"250 r\r\n250 s\r\n250 t\r\n250 2.0.0 taken\r\n", "a reply that answers nothing (250 2.0.0 taken)"),
        (b"250 r\r\n250 s\r\n250 t\r\n334 go\r\n", "a reply that answers nothing (334 go)"),
    ],
)
async def test_a_reply_that_answers_nothing_cuts_the_session(
    answer: bytes, told: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def follow(peer: Peer) -> None:
        assert DOT not in await peer.rest()

    async with Scripted(after_flight(answer, follow), server_tls).listening() as server:
        pool = make_pool(server.port)
        replies = await submit(pool)
        assert pool.open == 0
    assert replies.fate is Fate.NOT_TAKEN
    assert replies.incident == replies.trouble == told


async def test_a_reply_to_the_dot_that_is_no_verdict_leaves_it_unknown(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.until(DOT)
        await peer.say(b"354 go on\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        replies = await submit(pool)
        assert pool.open == 0
    assert replies.fate is Fate.UNANSWERED and replies.dot is None
    assert replies.incident == "the reply to the dot is no verdict (354 go on)"
