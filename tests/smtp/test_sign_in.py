"""Sign-ins: one try, one mechanism; a refusal is told from a trouble, and a secret never comes back to light."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from dataclasses import replace

import pytest
from pydantic import SecretStr

from app.mail.credential import Credential, PasswordCredential, TokenCredential
from app.mail.reply import Phase, reply_of
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.sign_in import is_worth_a_fresh_token
from tests.support.manual_clock import ManualClock
from tests.support.scripted_smtp import TLS_EHLO, Peer, Script, Scripted
from tests.support.smtp_stage import CREDENTIAL, PASSWORD, TIMEOUTS, USER, MakePool, Notes, Tokens, access_token

TOKEN = "eyJ0.token-of-a-test.sig"
XOAUTH2 = b64encode(f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01".encode())
PASSWORD_TRAIL = b"535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. [H 2026 08DE]\r\n"
OK = b"235 2.7.0 Authentication successful\r\n"


def dialogue(*steps: tuple[bytes, bytes], offer: bytes = b"LOGIN XOAUTH2") -> Script:
    """After the EHLO under TLS: expect a line, answer; and nothing more."""

    async def script(peer: Peer) -> None:
        await peer.greet(TLS_EHLO.replace(b"AUTH LOGIN XOAUTH2", b"AUTH " + offer))
        for line, answer in steps:
            assert await peer.line() == line
            await peer.say(answer)
        assert await peer.rest() == b""

    return script


def tokens(*given: object) -> TokenCredential:
    return TokenCredential(USER, Tokens(*given or (access_token(TOKEN),)))  # type: ignore[arg-type]


LOGIN_USER = b"AUTH LOGIN " + b64encode(USER.encode())
LOGIN_PASSWORD = b64encode(PASSWORD.encode())
PLAIN = b"AUTH PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode())
ASK_USER, ASK_PASSWORD, ASK = b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"334 \r\n"
ERROR = json.dumps({"status": "401", "schemes": "bearer", "scope": "https://example.com/"}).encode()
JSON = b"334 " + b64encode(ERROR) + b"\r\n"


@pytest.mark.parametrize(
    ("credential", "script"),
    [
        (CREDENTIAL, dialogue((LOGIN_USER, ASK_PASSWORD), (LOGIN_PASSWORD, OK))),
        (CREDENTIAL, dialogue((LOGIN_USER, ASK), (LOGIN_PASSWORD, OK))),
        (
            CREDENTIAL,
            dialogue((LOGIN_USER, ASK_USER), (b64encode(USER.encode()), ASK_PASSWORD), (LOGIN_PASSWORD, OK)),
        ),
        (CREDENTIAL, dialogue((LOGIN_USER, ASK_PASSWORD), (LOGIN_PASSWORD, OK), offer=b"PLAIN LOGIN")),
        (CREDENTIAL, dialogue((PLAIN, OK), offer=b"PLAIN XOAUTH2")),
        (
            PasswordCredential("jürgen@example.com", SecretStr("pässwörd")),
            dialogue(
                (b"AUTH LOGIN " + b64encode("jürgen@example.com".encode()), ASK_PASSWORD),
                (b64encode("pässwörd".encode()), OK),
            ),
        ),
        (tokens(), dialogue((b"AUTH XOAUTH2 " + XOAUTH2, OK))),
        (tokens(), dialogue((b"AUTH XOAUTH2 " + XOAUTH2, ASK), (XOAUTH2, OK))),
        (
            tokens(),
            dialogue(
                (b"AUTH XOAUTH2 " + XOAUTH2, b"500 5.5.2 Line too long\r\n"), (b"AUTH XOAUTH2", ASK), (XOAUTH2, OK)
            ),
        ),
        (
            tokens(),
            dialogue(
                (b"AUTH XOAUTH2 " + XOAUTH2, b"501 5.5.4 line too LONG\r\n"), (b"AUTH XOAUTH2", ASK), (XOAUTH2, OK)
            ),
        ),
    ],
)
async def test_a_sign_in_that_succeeds(
    credential: Credential, script: Script, server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, credential=credential, observe=notes, clock=clock)
        async with pool.lend():
            assert pool.busy == pool.open == pool.opened == notes.sign_ins == 1
        pool.abort()


async def test_a_token_too_long_for_a_line_goes_after_the_334(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    long = "t" * 12_000
    encoded = b64encode(f"user={USER}\x01auth=Bearer {long}\x01\x01".encode())
    script = dialogue((b"AUTH XOAUTH2", ASK), (encoded, OK))
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, credential=tokens(access_token(long)), clock=clock)
        async with pool.lend():
            pass
        pool.abort()


@pytest.mark.parametrize(
    ("credential", "script", "code", "told"),
    [
        (
            CREDENTIAL,
            dialogue((LOGIN_USER, ASK_PASSWORD), (LOGIN_PASSWORD, PASSWORD_TRAIL)),
            "535 5.7.139",
            "{} refused the sign-in: 535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. "
            "[H 2026 08DE]",
        ),
        (
            CREDENTIAL,
            dialogue((LOGIN_USER, b"504 5.7.4 Unrecognized authentication type\r\n")),
            "504 5.7.4",
            "{} refused the sign-in: 504 5.7.4 Unrecognized authentication type",
        ),
        (
            CREDENTIAL,
            dialogue((PLAIN, b"550 5.7.30 Basic authentication is not supported\r\n"), offer=b"PLAIN"),
            "550 5.7.30",
            "{} refused the sign-in: 550 5.7.30 Basic authentication is not supported",
        ),
        (
            tokens(),
            dialogue((b"AUTH XOAUTH2 " + XOAUTH2, b"535 5.7.139 SmtpClientAuthentication is disabled\r\n")),
            "535 5.7.139",
            "{} refused the sign-in: 535 5.7.139 SmtpClientAuthentication is disabled",
        ),
        (
            tokens(),
            dialogue((b"AUTH XOAUTH2 " + XOAUTH2, JSON), (b"", b"535 5.7.8 no\r\n")),
            "535 5.7.8",
            "{} refused the sign-in: 535 5.7.8 no; it told: status 401, schemes bearer, scope https://example.com/",
        ),
        (
            tokens(),
            dialogue(
                (b"AUTH XOAUTH2 " + XOAUTH2, b"500 line too long\r\n"),
                (b"AUTH XOAUTH2", ASK),
                (XOAUTH2, JSON),
                (b"", b"535 nope\r\n"),
            ),
            "535",
            "{} refused the sign-in: 535 nope; it told: status 401, schemes bearer, scope https://example.com/",
        ),
        (
            tokens(),
            dialogue((b"AUTH XOAUTH2 " + XOAUTH2, b"501 5.5.124 Invalid XOAUTH2 auth data\r\n")),
            "501 5.5.124",
            "{} refused the sign-in: 501 5.5.124 Invalid XOAUTH2 auth data",
        ),
    ],
)
async def test_a_refusal_is_told_after_one_try(
    credential: Credential,
    script: Script,
    code: str,
    told: str,
    server_tls: ssl.SSLContext,
    make_pool: MakePool,
    clock: ManualClock,
) -> None:
    """One token only is to be had in these stories, so no second one is tried."""
    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, credential=credential, observe=notes, clock=clock)
        with pytest.raises(SignInRefused) as caught:
            async with pool.lend():
                pass
        assert len(server.peers) == 1 and pool.open == 0
    assert caught.value.code == code
    assert caught.value.text == told.format(f"localhost:{server.port}")
    assert caught.value.reply is not None and caught.value.reply.phase is Phase.AUTH
    assert notes.failed == ["sign-in"] and notes.sign_ins == 0


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (b"454 4.7.0 Temporary authentication failure\r\n", "reply", "answered 454 4.7.0 Temporary"),
        (b"421 4.7.66 TLS 1.0 and 1.1 are not supported.\r\n", "reply", "answered 421 4.7.66 TLS 1.0"),
        (b"250 2.0.0 what?\r\n", "reply", "answered 250 2.0.0 what?"),
        (b"334 more\r\n", "reply", "answered 334 more"),
        (b"235 ok\n", "reply", "a line that ends with a bare LF"),
        (b"235 ok\r\n250 and\r\n", "reply", "spoke out of turn"),
        (b"235-half\r\n", "timeout", "no reply for 0.2 s"),
        (b"", "closed", "the server closed the connection"),
    ],
)
async def test_what_is_no_refusal_is_a_trouble_of_the_connection(
    answer: bytes, reason: str, text: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.line()
        await peer.say(ASK_PASSWORD)
        await peer.line()
        await peer.say(answer)
        if not answer:
            peer.close()
        await peer.rest()

    times = replace(TIMEOUTS, command=0.2 if reason == "timeout" else 5.0)
    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port, timeouts=times)
        with pytest.raises(ConnectTrouble) as caught:
            async with pool.lend():
                pass
    assert caught.value.reason == reason and text in caught.value.text


@pytest.mark.parametrize(
    ("credential", "offer"), [(CREDENTIAL, b"XOAUTH2 CRAM-MD5"), (tokens(), b"LOGIN PLAIN"), (CREDENTIAL, b"")]
)
async def test_a_server_that_does_not_offer_our_way_gets_no_credential(
    credential: Credential, offer: bytes, server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    async with Scripted(dialogue(offer=offer), server_tls).listening() as server:
        pool = make_pool(server.port, credential=credential, clock=clock)
        with pytest.raises(ConnectTrouble, match=r"offers .*, not (LOGIN or PLAIN|XOAUTH2)$") as caught:
            async with pool.lend():
                pass
    assert caught.value.reason == "reply"


# ---------------------------------------------------------------- one fresh token


async def test_after_535_one_fresh_token_is_tried_on_a_new_session(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    fresh = b64encode(f"user={USER}\x01auth=Bearer fresh-token\x01\x01".encode())
    refuse = dialogue((b"AUTH XOAUTH2 " + XOAUTH2, b"535 5.7.3 Authentication unsuccessful [H]\r\n"))
    take = dialogue((b"AUTH XOAUTH2 " + fresh, OK))
    credential = tokens(access_token(TOKEN), access_token("fresh-token"))
    async with Scripted([refuse, take], server_tls).listening() as server:
        pool = make_pool(server.port, credential=credential, clock=clock)
        async with pool.lend():
            assert len(server.peers) == 2 and pool.open == 1
        pool.abort()
    assert credential.source.asked == [False, True]  # type: ignore[attr-defined]


async def test_a_second_535_is_a_refusal(server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.greet()
        await peer.line()
        await peer.say(b"535 5.7.3 Authentication unsuccessful [H]\r\n")
        await peer.rest()

    credential = tokens(access_token(TOKEN), access_token("fresh-token"), access_token("third"))
    async with Scripted(refuse, server_tls).listening() as server:
        pool = make_pool(server.port, credential=credential, clock=clock)
        with pytest.raises(SignInRefused) as caught:
            async with pool.lend():
                pass
        assert len(server.peers) == 2
    assert caught.value.code == "535 5.7.3"
    assert credential.source.asked == [False, True]  # type: ignore[attr-defined]


async def test_troubles_of_the_token_endpoint_open_no_connection(
    server_tls: ssl.SSLContext, make_pool: MakePool, clock: ManualClock
) -> None:
    problems = [
        ConnectTrouble("token", "the token endpoint is away", retry_after=7.0),
        SignInRefused("AADSTS7000215", "invalid client secret"),
    ]
    async with Scripted(dialogue(), server_tls).listening() as server:
        for problem in problems:
            pool = make_pool(server.port, credential=tokens(problem), clock=clock)
            with pytest.raises(type(problem)) as caught:
                async with pool.lend():
                    pass
            assert caught.value is problem
        assert server.peers == []


@pytest.mark.parametrize(
    ("reply", "is_worth"),
    [
        ("535 5.7.3 Authentication unsuccessful", True),
        ("535 5.7.8 Bad credentials", True),
        ("535 Bad credentials", True),
        ("535 5.7.139 SmtpClientAuthentication is disabled for the Tenant.", False),
        ("550 5.7.30 Basic authentication is not supported", False),
        ("501 5.5.124 Invalid XOAUTH2 auth data", False),
    ],
)
def test_when_a_fresh_token_may_help(reply: str, is_worth: bool) -> None:
    told = reply_of(int(reply[:3]), [reply[4:]], Phase.AUTH)
    assert is_worth_a_fresh_token(SignInRefused("x", "y", told)) is is_worth
    assert not is_worth_a_fresh_token(SignInRefused("AADSTS50034", "the token endpoint refused"))
