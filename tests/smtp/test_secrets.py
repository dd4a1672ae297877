"""No secret comes back to light, and what a server says in a sign-in is read right."""

from __future__ import annotations

import ssl
from base64 import b64encode

import pytest

from app.mail.credential import TokenCredential
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.parser import RawReply
from app.smtp.sign_in import asks_for_user, challenge_of, says_too_long, without, words_of
from tests.support.manual_clock import ManualClock
from tests.support.scripted_smtp import Peer, Scripted
from tests.support.smtp_stage import CREDENTIAL, PASSWORD, USER, MakePool, Tokens, access_token

TOKEN = "eyJ0.token-of-a-test.sig"
XOAUTH2 = b64encode(f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01".encode())
ASK_PASSWORD = b"334 UGFzc3dvcmQ6\r\n"


def tokens(*given: object) -> TokenCredential:
    return TokenCredential(USER, Tokens(*given or (access_token(TOKEN),)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- no secret comes back


@pytest.mark.parametrize("cut", [None, 60, 35])
async def test_what_the_server_echoes_of_a_credential_is_blotted_out(
    cut: int | None, server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    async def echo(peer: Peer) -> None:
        await peer.greet()
        line = await peer.line()
        await peer.say(b"502 5.5.2 not understood: " + line[:cut] + b"\r\n")
        await peer.rest()

    async with Scripted(echo, server_tls).listening() as server:
        pool = make_pool(server.port, credential=tokens(), clock=clock)
        with pytest.raises(SignInRefused) as caught:
            async with pool.lend():
                pass
    shown = f"{caught.value!r} {caught.value.text} {caught.value.reply}"
    assert XOAUTH2.decode()[:20] not in shown and TOKEN not in shown
    assert "not understood: AUTH XOAUTH2 ***" in shown


async def test_an_echoed_password_is_blotted_out(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def echo(peer: Peer) -> None:
        await peer.greet()
        await peer.line()
        await peer.say(ASK_PASSWORD)
        line = await peer.line()
        await peer.say(b"535-5.7.8 " + line + b" is\r\n535 5.7.8 " + PASSWORD.encode() + b", which is wrong\r\n")
        await peer.rest()

    async with Scripted(echo, server_tls).listening() as server:
        with pytest.raises(SignInRefused) as caught:
            async with make_pool(server.port).lend():
                pass
    assert str(caught.value.reply) == "535 5.7.8 *** is ***, which is wrong"


async def test_an_echo_out_of_turn_is_blotted_out(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def echo(peer: Peer) -> None:
        await peer.greet()
        await peer.line()
        await peer.say(ASK_PASSWORD)
        line = await peer.line()
        await peer.say(b"235 ok\r\n500 what is " + line + b"\r\n")
        await peer.rest()

    async with Scripted(echo, server_tls).listening() as server:
        with pytest.raises(ConnectTrouble) as caught:
            async with make_pool(server.port).lend():
                pass
    assert caught.value.text.endswith("the server spoke out of turn: 500 what is ***")


def test_nothing_that_is_printed_holds_a_secret(trust: ssl.SSLContext, make_pool: MakePool) -> None:
    for credential in (CREDENTIAL, tokens()):
        pool = make_pool(587, credential=credential)
        shown = f"{pool!r} {vars(pool)} {vars(pool._entrance)}"
        assert PASSWORD not in shown and TOKEN not in shown


# ---------------------------------------------------------------- reading what a server says


def said(*lines: str, code: int = 334) -> RawReply:
    return RawReply(code, lines)


@pytest.mark.parametrize(
    ("reply", "challenge"),
    [
        (said(""), ""),
        (said("VXNlcm5hbWU6"), "Username:"),
        (said("not base64!"), "not base64!"),
        (said("gICA"), "\N{REPLACEMENT CHARACTER}" * 3),
    ],
)
def test_a_challenge_is_decoded(reply: RawReply, challenge: str) -> None:
    assert challenge_of(reply) == challenge


@pytest.mark.parametrize(
    ("reply", "asks"),
    [(said("VXNlcm5hbWU6"), True), (said("VXNlciBOYW1lAA=="), True), (said("UGFzc3dvcmQ6"), False), (said(""), False)],
)
def test_a_second_question_for_the_user_is_known(reply: RawReply, asks: bool) -> None:
    assert asks_for_user(reply) is asks


@pytest.mark.parametrize(
    ("reply", "is_long"),
    [
        (said("5.5.2 Line too long", code=500), True),
        (said("5.5.4 Line too long", code=501), True),
        (said("5.5.124 Invalid XOAUTH2 auth data", code=501), False),
        (said("5.7.3 Authentication unsuccessful", code=535), False),
    ],
)
def test_a_line_too_long_is_known(reply: RawReply, is_long: bool) -> None:
    assert says_too_long(reply) is is_long


@pytest.mark.parametrize(
    ("challenge", "told"),
    [
        ('{"status":"400","schemes":"Bearer"}', "status 400, schemes Bearer"),
        ('{"status":{"a":1}}', "status {'a': 1}"),
        ("[1]", "[1]"),
        ("plain\r\nwords", "plain  words"),
        ('{"a":"' + "x" * 900 + '"}', "a " + "x" * 298),
    ],
)
def test_the_words_of_an_error_are_kept(challenge: str, told: str) -> None:
    assert words_of(challenge) == told


def test_blotting_out_spares_other_words() -> None:
    secrets = ["c2VjcmV0LXRva2VuLW9mLWEtdGVzdA==", "s3cret!"]
    assert without("[08DE2A6028D26C22] c2VjcmV0LXRva2 and s3cret! Authentication", secrets) == (
        "[08DE2A6028D26C22] *** and *** Authentication"
    )
