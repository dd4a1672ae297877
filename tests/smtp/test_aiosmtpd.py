"""Against a server that is not ours: what is submitted arrives octet for octet, over STARTTLS with a sign-in."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest
from pydantic import SecretStr

from app.mail.credential import PasswordCredential
from app.mail.transaction import Fate, SignInRefused
from tests.support.aiosmtpd_server import AiosmtpdServer
from tests.support.smtp_stage import CREDENTIAL, USER, MakePool, Octets, envelope, submit

CONTENTS = {
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\na.\r\n\r\n.",
    "empty": b"",
    "headers alone": b"Subject: nothing\r\n\r\n",
    "long lines": b"Subject: long\r\n\r\n" + (b"y" * 996 + b"\r\n") * 200,
    "large": b"Subject: large\r\n\r\n" + (b".x" * 38 + b"\r\n") * 20_000,
}


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "lock-step"])
@pytest.mark.parametrize("mechanism", ["LOGIN", "PLAIN"])
async def test_every_content_arrives_as_it_was(
    pipelining: bool, mechanism: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    with AiosmtpdServer(server_tls, pipelining=pipelining, mechanisms=(mechanism,)) as server:
        pool = make_pool(server.port)
        for content in CONTENTS.values():
            chunks = [content[at : at + 50_000] for at in range(0, len(content), 50_000)]
            replies = await submit(pool, envelope(size=len(content)), Octets(*chunks or (b"",)))
            assert replies.fate is Fate.ANSWERED and replies.dot is not None and replies.dot.code == 250
        assert pool.opened == 1
        assert pool.features is not None and pool.features.pipelining is pipelining
        await pool.close(2.0)
    assert [stored.content.removesuffix(b"\r\n") for stored in server.messages] == [
        content.removesuffix(b"\r\n") for content in CONTENTS.values()
    ]
    assert {(stored.login, stored.return_path, stored.recipients) for stored in server.messages} == {
        (USER, USER, ("anna@example.org",))
    }
    assert server.sign_ins == [(mechanism, USER, True)]


async def test_recipients_are_told_apart(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    refuse = {"nobody@example.org": "550 5.1.1 No such user", "busy@example.org": "450 4.2.0 Busy"}
    to = ("anna@example.org", "nobody@example.org", "bert@example.org", "busy@example.org")
    with AiosmtpdServer(server_tls, refuse=refuse) as server:
        pool = make_pool(server.port)
        replies = await submit(pool, envelope(*to))
        assert [str(reply) for reply in replies.recipients] == [
            "250 2.1.5 Recipient OK",
            "550 5.1.1 No such user",
            "250 2.1.5 Recipient OK",
            "450 4.2.0 Busy",
        ]
        none = await submit(pool, envelope("nobody@example.org", "busy@example.org"))
        assert none.fate is Fate.ANSWERED and none.dot is None
        after = await submit(pool, envelope("bert@example.org"))
        assert after.dot is not None and pool.opened == 1
        await pool.close(2.0)
    assert [stored.recipients for stored in server.messages] == [
        ("anna@example.org", "bert@example.org"),
        ("bert@example.org",),
    ]


async def test_addresses_beyond_ascii_arrive(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    content = "Subject: grüße\r\n\r\nhi\r\n".encode()
    with AiosmtpdServer(server_tls) as server:
        pool = make_pool(server.port)
        replies = await submit(pool, envelope("jürgen@example.org", smtputf8=True), Octets(content))
        assert replies.dot is not None and replies.dot.is_positive
        await pool.close(2.0)
    assert server.messages[0].recipients == ("jürgen@example.org",)
    assert server.messages[0].content == content
    assert "SMTPUTF8" in server.messages[0].mail_options


async def test_a_wrong_password_is_refused_once(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    wrong = replace(CREDENTIAL, password=SecretStr("wrong-password"))
    assert isinstance(wrong, PasswordCredential)
    with AiosmtpdServer(server_tls) as server:
        pool = make_pool(server.port, credential=wrong)
        with pytest.raises(SignInRefused) as caught:
            await submit(pool)
    assert caught.value.code == "535 5.7.8"
    assert [right for _, _, right in server.sign_ins] == [False]
