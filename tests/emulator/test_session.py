"""The plain path: greeting, STARTTLS, sign-in, a transaction, and what is kept of it."""

from __future__ import annotations

import asyncio
import smtplib
import ssl

import pytest

from app.emulator import DEFAULT_ADDRESS, DEFAULT_PASSWORD, Account, Emulator, Limits
from tests.emulator.talk import CONTENT, Talk, b64


async def test_an_ordinary_client_hands_a_message_over():
    def send(port: int, ca: str) -> None:
        with smtplib.SMTP("localhost", port, timeout=5) as smtp:
            smtp.starttls(context=ssl.create_default_context(cadata=ca))
            smtp.login(DEFAULT_ADDRESS, DEFAULT_PASSWORD)
            smtp.sendmail("me@contoso.test", ["ada@customer.test", "bob@customer.test"], CONTENT + b".dot\r\n")

    async with Emulator() as emu:
        await asyncio.to_thread(send, emu.port, emu.ca_pem.decode())
        (message,) = emu.messages
        assert message.raw == CONTENT + b".dot\r\n"
        assert (message.mail_from, message.rcpt_tos) == ("me@contoso.test", ("ada@customer.test", "bob@customer.test"))
        assert (message.login, message.session, message.tls) == (DEFAULT_ADDRESS, 1, "TLSv1.3")
        assert message.accepted
        assert not message.has_bare_newline


async def test_the_session_reads_as_on_smtp_office365_com():
    async with Emulator() as emu, Talk(emu) as talk:
        assert " Microsoft ESMTP MAIL Service ready at " in await talk.reply()
        before = (await talk.say("EHLO client.test")).split("\n")
        assert [line[4:] for line in before[1:]] == [
            *("SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "SMTPUTF8")
        ]
        assert await talk.say("STARTTLS") == "220 2.0.0 SMTP server ready"
        await talk.handshake()
        after = await talk.say("EHLO client.test")
        assert "AUTH LOGIN XOAUTH2" in after
        assert "STARTTLS" not in after
        assert await talk.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert await talk.say(b64(DEFAULT_ADDRESS)) == "334 UGFzc3dvcmQ6"
        assert await talk.say(b64(DEFAULT_PASSWORD)) == "235 2.7.0 Authentication successful"
        replies = await talk.submit("ada@customer.test")
        assert replies[:-1] == [
            "250 2.0.0 Resetting",
            "250 2.1.0 Sender OK",
            "250 2.1.5 Recipient OK",
            "354 Start mail input; end with <CRLF>.<CRLF>",
        ]
        assert replies[-1].startswith("250 2.0.0 OK <1@contoso.test> [Hostname=")
        assert await talk.say("QUIT") == "221 2.0.0 Service closing transmission channel"
        assert await talk.rest() == b""


async def test_a_pipelined_message_costs_two_round_trips():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit("ada@customer.test", "bob@customer.test")
        await talk.submit("ada@customer.test")
        assert [message.round_trips for message in emu.messages] == [2, 2]


@pytest.mark.parametrize(
    ("argument", "password", "expected"),
    [
        (DEFAULT_ADDRESS, DEFAULT_PASSWORD, "235 2.7.0 "),
        (DEFAULT_ADDRESS.upper(), DEFAULT_PASSWORD, "235 2.7.0 "),
        (DEFAULT_ADDRESS, "wrong", "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. ["),
        ("nobody@contoso.test", "x", "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. ["),
        ("account-locked@emulator.postroom", "x", "535 5.7.139 Authentication unsuccessful, account locked."),
    ],
)
async def test_a_sign_in_is_answered_in_exchange_s_words(argument, password, expected):
    async with Emulator() as emu, Talk(emu) as talk:
        assert (await talk.sign_in(argument, password)).startswith(expected)
        is_right = expected.startswith("235")
        assert (emu.counters.auth_ok, emu.counters.auth_failed) == (int(is_right), int(not is_right))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["AUTH PLAIN AGEAYg=="], "504 5.7.4 Unrecognized authentication type"),
        (["AUTH LOGIN", "*"], "501 5.7.0 Authentication cancelled"),
        (["AUTH LOGIN", "%%%"], "501 5.5.2 Cannot decode response"),
        (["AUTH XOAUTH2 dXNlcg=="], "501 5.5.124 Invalid XOAUTH2 auth data"),
        (["AUTH XOAUTH2", "dXNlcg=="], "501 5.5.124 Invalid XOAUTH2 auth data"),
    ],
)
async def test_a_malformed_sign_in_is_told_so(lines, expected):
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.start_tls()
        assert [await talk.say(line) for line in lines][-1] == expected


async def test_a_failed_sign_in_is_told_again_at_mail():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in(DEFAULT_ADDRESS, "wrong")
        reply = await talk.say("MAIL FROM:<me@contoso.test>")
        assert reply.startswith("530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 ")


async def test_a_session_in_the_clear_may_neither_sign_in_nor_send():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.reply()
        await talk.say("EHLO client.test")
        assert await talk.say("MAIL FROM:<me@contoso.test>") == "530 5.7.0 Must issue a STARTTLS command first"
        assert emu.counters.plaintext_credential_octets == 0
        assert await talk.say(f"AUTH LOGIN {b64('me')}") == "530 5.7.0 Must issue a STARTTLS command first"
        assert emu.counters.plaintext_credential_octets > 0


async def test_commands_sent_ahead_of_the_handshake_are_forgotten():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.reply()
        await talk.say("EHLO client.test")
        await talk.send(b"STARTTLS\r\nNOOP\r\n")
        await talk.reply()
        await talk.handshake()
        assert (await talk.say("MAIL FROM:<a@b.test>")) == "503 5.5.2 Send hello first"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("MAIL FROM:<>", "250 2.1.0 "),
        ("MAIL FROM: <a@b.test> SIZE=10 BODY=8BITMIME", "250 2.1.0 "),
        ('MAIL FROM:<"a b"@b.test>', "250 2.1.0 "),
        ("MAIL FROM:<ä@b.test>", "501 5.1.7 "),
        ("MAIL FROM:<ä@b.test> SMTPUTF8", "250 2.1.0 "),
        ("MAIL FROM:<a@b.test> SIZE=157286401", "552 5.3.4 "),
        ("MAIL FROM:<a@b.test> SIZE=x", "501 5.5.4 "),
        ("MAIL FROM:<a@b.test> XYZ=1", "501 5.5.4 Unrecognized parameter"),
        ("MAIL FROM:a@b.test", "501 5.1.7 "),
        ("MAIL FROM:<a@b.test", "501 5.1.7 "),
        ("MAIL FROM:<a b@c.test>", "501 5.1.7 "),
        ("MAIL", "501 5.1.7 "),
        ("RCPT TO:<a@b.test>", "503 5.5.2 Need mail command"),
        ("DATA", "503 5.5.2 Need mail command"),
        ("VRFY a", "252 "),
        ("BDAT 5 LAST", "500 5.3.3 "),
        ("STARTTLS", "503 5.5.2 "),
        ("AUTH LOGIN", "503 5.5.2 "),
        ("EHLO", "501 5.5.4 "),
        ("HELO client", "250 "),
        ("noop", "250 2.0.0 OK"),
        ("", "500 5.3.3 "),
    ],
)
async def test_a_command_has_its_answer(line, expected):
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.say(line)).startswith(expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RCPT TO:<a@b.test> NOTIFY=NEVER ORCPT=rfc822;a@b.test", "250 2.1.5 "),
        ("RCPT TO:<>", "501 5.1.3 "),
        ("RCPT TO:<ä@b.test>", "501 5.1.3 "),
        ("RCPT TO:<a@b.test> XYZ", "501 5.5.4 "),
        ("DATA", "503 5.5.2 Need rcpt command"),
        ("MAIL FROM:<a@b.test>", "503 5.5.2 Sender already specified"),
    ],
)
async def test_a_command_within_a_transaction_has_its_answer(line, expected):
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.say("MAIL FROM:<me@contoso.test>")
        assert (await talk.say(line)).startswith(expected)


async def test_content_is_kept_to_the_octet():
    content = CONTENT + b"..two\r\n...\r\n.\nbare\r\n\r\n.x\r\n" + bytes(range(128, 256)) + b"\r\n"
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit("ada@customer.test", content=content.replace(b"\r\n.", b"\r\n.."))
        (message,) = emu.messages
        assert message.raw == content
        assert message.has_bare_newline


async def test_only_crlf_dot_crlf_ends_the_content():
    hidden = CONTENT + b"\n.\nMAIL FROM:<evil@b.test>\r\n\n.\r\n\r.\r\n"
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit("ada@customer.test", content=hidden)
        (message,) = emu.messages
        assert message.raw == hidden


async def test_content_may_come_octet_by_octet():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        for _ in range(3):
            await talk.reply()
        for octet in CONTENT + b".\r\n":
            await talk.send(bytes([octet]))
            await asyncio.sleep(0)
        assert (await talk.reply()).startswith("250 ")
        assert emu.messages[0].raw == CONTENT


async def test_wild_lines_are_refused_and_the_session_lives_on():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.start_tls()
        assert await talk.say("x" * 40_000) == "500 5.3.3 Line too long"
        await talk.send(b"NOOP\n")
        assert await talk.reply() == "500 5.5.2 A line must end with CRLF"
        await talk.send(b"NO\rOP\r\n")
        assert await talk.reply() == "500 5.5.2 A line must end with CRLF"
        await talk.send(b"\xff\xfe\x00\r\n")
        assert await talk.reply() == "500 5.3.3 Unrecognized command"
        assert await talk.say("NOOP") == "250 2.0.0 OK"


async def test_a_client_that_goes_on_talking_nonsense_is_sent_away():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.reply()
        await talk.send(b"GET / HTTP/1.1\r\n" * 20)
        assert (await talk.rest()).endswith(
            b"421 4.7.0 Too many errors on this connection, closing transmission channel\r\n"
        )


async def test_memory_is_bounded_by_number_and_by_octets():
    async with Emulator(messages=2) as few, Emulator(memory=3 * len(CONTENT) - 1) as small:
        for emu in (few, small):
            async with Talk(emu) as talk:
                await talk.sign_in()
                for _ in range(3):
                    await talk.submit("ada@customer.test")
            assert [message.number for message in emu.messages] == [2, 3]


async def test_content_beyond_the_memory_is_refused_and_forgotten():
    async with Emulator(memory=1000) as emu, Talk(emu) as talk:
        await talk.sign_in()
        replies = await talk.submit("ada@customer.test", content=CONTENT + b"x\r\n" * 1000)
        assert replies[-1] == "452 4.3.1 Insufficient system resources"
        assert (await talk.submit("ada@customer.test"))[-1].startswith("250 ")


async def test_one_account_of_a_domain_stands_for_all_its_mailboxes():
    async with Emulator([Account("*@contoso.test", "secret")]) as emu, Talk(emu) as talk:
        assert (await talk.sign_in("sales@contoso.test", "secret")).startswith("235")
        own, other = (CONTENT.replace(b"me@", name) for name in (b"sales@", b"me@"))
        assert (await talk.submit("ada@customer.test", content=own))[-1].startswith("250 ")
        assert (await talk.submit("ada@customer.test", content=other))[-1].startswith(
            "554 5.2.252 SendAsDenied; sales@"
        )


async def test_silence_and_age_end_a_session():
    async with Emulator(limits=Limits(idle=300, age=600)) as emu, Talk(emu) as idle:
        await idle.sign_in()
        await asyncio.sleep(0.01)
        # The emulator's clock runs on beside the moves: half a minute is room for a slow machine.
        emu.clock.advance(270)
        assert await idle.say("NOOP") == "250 2.0.0 OK"
        emu.clock.advance(300)
        assert await idle.rest() == b"451 4.7.0 Timeout waiting for client input\r\n"
        async with Talk(emu) as old:
            await old.sign_in()
            for _ in range(3):
                emu.clock.advance(190)
                assert await old.say("NOOP") == "250 2.0.0 OK"
            emu.clock.advance(30)
            assert (await old.rest()).startswith(b"421 4.4.1 Connection timed out. Total session duration: 00:10:")


async def test_a_stopped_emulator_starts_again_on_its_ports():
    emu = Emulator()
    async with emu, Talk(emu) as talk:
        await talk.sign_in()
        ports = (emu.port, emu.http_port)
    assert emu.counters.sessions_open == 0
    async with emu, Talk(emu) as talk:
        assert (emu.port, emu.http_port) == ports
        assert (await talk.sign_in()).startswith("235")
