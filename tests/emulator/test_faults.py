"""Faults on order: where, what, whom and how often."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.emulator import CATALOGUE, DEFAULT_ADDRESS, Action, Emulator, Fault, Limits, Phase
from tests.emulator.talk import CONTENT, Talk, b64

ADA = "ada@customer.test"
BUSY = "451 4.7.0 Busy"


@pytest.mark.parametrize(
    ("phase", "position"),
    [(Phase.RSET, 0), (Phase.MAIL, 1), (Phase.RCPT, 2), (Phase.DATA, 3), (Phase.DOT, 4)],
)
async def test_a_reply_is_given_in_its_phase(phase, position):
    async with Emulator(faults=[Fault(phase=phase, reply=BUSY, times=1)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        replies = await talk.submit(ADA)
        assert replies[position] == BUSY
        assert [message.accepted for message in emu.accepted] == ([True] if phase is Phase.RSET else [])
        assert (await talk.submit(ADA))[-1].startswith("250 ")


@pytest.mark.parametrize("phase", [Phase.NOOP, Phase.QUIT])
async def test_a_reply_is_given_outside_a_transaction(phase):
    async with Emulator(faults=[Fault(phase=phase, reply=BUSY)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert await talk.say(phase.upper()) == BUSY


async def test_a_reply_is_given_before_tls():
    faults = [
        Fault(phase=Phase.CONNECT, reply="421 4.3.2 Service not active", session=1),
        Fault(phase=Phase.EHLO, reply="421 4.3.2 Service not active", session=2),
        Fault(phase=Phase.STARTTLS, reply="454 4.7.0 TLS not available", session=3),
    ]
    async with Emulator(faults=faults) as emu:
        async with Talk(emu) as talk:
            assert await talk.rest() == b"421 4.3.2 Service not active\r\n"
        async with Talk(emu) as talk:
            await talk.reply()
            assert await talk.say("EHLO client") == "421 4.3.2 Service not active"
            assert await talk.rest() == b""
        async with Talk(emu) as talk:
            await talk.reply()
            await talk.say("EHLO client")
            assert await talk.say("STARTTLS") == "454 4.7.0 TLS not available"
            assert await talk.say("NOOP") == "250 2.0.0 OK"


async def test_lines_of_a_reply_are_written_as_one_reply():
    async with Emulator(faults=[Fault(phase=Phase.DOT, reply="451 4.7.0 one\n4.7.0 two")]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.submit(ADA))[-1] == "451-4.7.0 one\n451 4.7.0 two"


@pytest.mark.parametrize(
    ("conditions", "strikes"),
    [
        ({"recipient": ADA}, True),
        ({"recipient": "Ada@CUSTOMER.test"}, True),
        ({"recipient": "*@customer.test"}, True),
        ({"recipient": "bob@customer.test"}, False),
        ({"sender": DEFAULT_ADDRESS}, True),
        ({"sender": "*@other.test"}, False),
        ({"message_id": "1@contoso.test"}, True),
        ({"message_id": "<2@contoso.test>"}, False),
        ({"login": DEFAULT_ADDRESS}, True),
        ({"login": "x@y.test"}, False),
        ({"session": 1}, True),
        ({"session": 2}, False),
        ({"attempt": 1}, True),
        ({"attempt": 2}, False),
    ],
)
async def test_a_fault_concerns_whom_it_names(conditions, strikes):
    async with Emulator(faults=[Fault(phase=Phase.DOT, reply=BUSY, **conditions)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert ((await talk.submit("x@y.test", ADA))[-1] == BUSY) is strikes


async def test_attempt_and_times_count_the_occasions_that_match():
    faults = [Fault(phase=Phase.DOT, reply=BUSY, attempt=2), Fault(phase=Phase.DOT, reply="452 4.2.2 Full", times=1)]
    async with Emulator(faults=faults) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert [(await talk.submit(ADA))[-1][:3] for _ in range(4)] == ["452", "451", "250", "250"]
        assert [(fault.seen, fault.fired) for fault in faults] == [(4, 1), (3, 1)]


async def test_a_mail_fault_by_recipient_strikes_at_mail_where_the_client_pipelines():
    async with Emulator(faults=[Fault(phase=Phase.MAIL, reply=BUSY, recipient=ADA)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.submit("x@y.test", ADA))[1] == BUSY
        assert (await talk.submit("x@y.test"))[-1].startswith("250 ")


async def test_a_mail_fault_by_recipient_strikes_at_rcpt_where_the_client_does_not_pipeline():
    async with Emulator(faults=[Fault(phase=Phase.MAIL, reply=BUSY, recipient=ADA)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.say("MAIL FROM:<a@b.test>")).startswith("250 ")
        assert await talk.say(f"RCPT TO:<{ADA}>") == BUSY


@pytest.mark.parametrize(
    ("action", "ends_with"),
    [
        (Action.DROP, ConnectionResetError),
        (Action.CLOSE, b""),
        (Action.DROP_AFTER_DOT, ConnectionResetError),
    ],
)
async def test_a_connection_is_cut_at_the_dot(action, ends_with):
    async with Emulator(faults=[Fault(phase=Phase.DOT, action=action)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.send(f"MAIL FROM:<a@b.test>\r\nRCPT TO:<{ADA}>\r\nDATA\r\n".encode())
        for _ in range(3):
            await talk.reply()
        await talk.send(CONTENT + b".\r\n")
        if isinstance(ends_with, bytes):
            assert await talk.rest() == ends_with
        else:
            with pytest.raises(ends_with):
                await talk.rest()
        (message,) = emu.messages
        assert message.accepted is (action is Action.DROP_AFTER_DOT)
        assert (message.reply is None) is (action is not Action.DROP_AFTER_DOT)


def _raw_end(emu: Emulator) -> tuple[bytes, bool]:
    """Submit over a blocking TLS socket that tells a close_notify from a bare FIN; return the rest and which it was."""
    import socket

    context = ssl.create_default_context(cadata=emu.ca_pem.decode())
    with socket.create_connection(("localhost", emu.port), 5) as plain:
        file = plain.makefile("rb")
        file.readline()
        plain.sendall(b"EHLO c\r\n")
        while file.readline()[3:4] == b"-":
            pass
        plain.sendall(b"STARTTLS\r\n")
        file.readline()
        with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
            tls.sendall(b"EHLO c\r\n")
            rest = b""
            while True:
                try:
                    octets = tls.recv(4096)
                except ssl.SSLEOFError:
                    return rest, False
                if not octets:
                    return rest, True
                rest += octets
                if rest.endswith(b"SMTPUTF8\r\n"):
                    tls.sendall(b"NOOP\r\n")


@pytest.mark.parametrize(("action", "is_orderly"), [(Action.CLOSE, True), (Action.TRUNCATE_TLS, False)])
async def test_tls_ends_with_or_without_close_notify(action, is_orderly):
    async with Emulator(faults=[Fault(phase=Phase.NOOP, action=action)]) as emu:
        _, was_orderly = await asyncio.to_thread(_raw_end, emu)
        assert was_orderly is is_orderly


async def test_close_may_say_something_first():
    fault = Fault(phase=Phase.NOOP, action=Action.CLOSE, reply="451 4.7.0 Timeout waiting for client input")
    async with Emulator(faults=[fault]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert await talk.say("NOOP") == fault.reply
        assert await talk.rest() == b""


async def test_a_stall_at_the_dot_takes_the_message_only_if_the_client_stays():
    async with Emulator(faults=[Fault(phase=Phase.DOT, action=Action.STALL, seconds=60)]) as emu:
        async with Talk(emu) as leaving:
            await leaving.sign_in()
            stalled = asyncio.create_task(leaving.submit(ADA))
            await asyncio.sleep(0.05)
            stalled.cancel()
        async with Talk(emu) as staying:
            await staying.sign_in()
            stalled = asyncio.create_task(staying.submit(ADA))
            await asyncio.sleep(0.05)
            assert [message.accepted for message in emu.messages] == [False]
            emu.clock.advance(60)
            assert (await stalled)[-1].startswith("250 ")
            assert [message.accepted for message in emu.messages] == [False, True]


async def test_a_stall_without_seconds_lasts_until_the_client_leaves():
    async with Emulator(faults=[Fault(phase=Phase.CONNECT, action=Action.STALL)]) as emu:
        async with Talk(emu) as talk:
            await asyncio.sleep(0.01)
            emu.clock.advance(1e9)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reply(), 0.05)
            assert emu.counters.sessions_open == 1
        await asyncio.sleep(0.05)
        assert emu.counters.sessions_open == 0


async def test_a_late_reply_comes_for_a_message_that_is_already_taken():
    async with (
        Emulator(faults=[Fault(phase=Phase.DOT, action=Action.LATE_REPLY, seconds=600)]) as emu,
        Talk(emu) as talk,
    ):
        await talk.sign_in()
        late = asyncio.create_task(talk.submit(ADA))
        await emu.wait_for(1)
        assert not late.done()
        emu.clock.advance(600)
        assert (await late)[-1].startswith("250 ")


async def test_latency_delays_every_reply_of_a_phase():
    async with Emulator(latency={Phase.MAIL: 5}) as emu, Talk(emu) as talk:
        await talk.sign_in()
        slow = asyncio.create_task(talk.submit(ADA))
        await asyncio.sleep(0.05)
        assert not slow.done()
        emu.clock.advance(5)
        assert (await slow)[-1].startswith("250 ")


async def test_a_pause_before_starttls_does_not_harm_the_handshake():
    async with Emulator(latency={Phase.STARTTLS: 0.01}) as emu, Talk(emu) as talk:
        assert (await talk.sign_in()).startswith("235")


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(phase=Phase.NOOP, action=Action.BARE_LF), b"250 2.0.0 OK\n"),
        (Fault(phase=Phase.NOOP, action=Action.OUT_OF_TURN), b"250 2.0.0 OK\r\n250 2.0.0 OK, out of turn\r\n"),
        (Fault(phase=Phase.NOOP, action=Action.OUT_OF_TURN, reply="550 No"), b"250 2.0.0 OK\r\n550 No\r\n"),
        (Fault(phase=Phase.NOOP, action=Action.HALF_REPLY), b"250 2."),
        (Fault(phase=Phase.NOOP, action=Action.NO_CODE), b"2.0.0 OK\r\n"),
        (Fault(phase=Phase.NOOP, action=Action.NO_CODE, reply="250 Fine, thanks"), b"Fine, thanks\r\n"),
        (Fault(phase=Phase.NOOP, action=Action.OVERLONG_REPLY), b"250 2.0.0 OK " + b"x" * 9000 + b"\r\n"),
    ],
)
async def test_a_reply_is_mangled(fault, seen):
    async with Emulator(faults=[fault, Fault(phase=Phase.QUIT, action=Action.CLOSE)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.send(b"NOOP\r\nQUIT\r\n")
        assert await talk.rest() == seen


async def test_354_comes_although_the_envelope_was_refused():
    faults = [Fault(phase=Phase.RCPT, reply="550 5.1.1 No", recipient=ADA), Fault(action=Action.ANYWAY_354)]
    async with Emulator(faults=faults) as emu, Talk(emu) as talk:
        await talk.sign_in()
        replies = await talk.submit(ADA, content=b"")
        assert [reply[:3] for reply in replies] == ["250", "250", "550", "354", "554"]
        emu.order(Fault(phase=Phase.DOT, reply="250 2.0.0 OK", recipient=ADA))
        assert (await talk.submit(ADA, content=b""))[-1] == "250 2.0.0 OK"
        emu.order(Fault(phase=Phase.MAIL, reply="550 5.7.60 No"))
        assert [reply[:3] for reply in await talk.submit(ADA, content=b"")] == ["250", "550", "503", "354", "250"]


async def test_content_can_be_cut_after_some_octets():
    async with Emulator(faults=[Fault(phase=Phase.CONTENT, action=Action.DROP, octets=1000)]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.submit(ADA))[-1].startswith("250 ")
        with pytest.raises((ConnectionResetError, EOFError)):
            await talk.submit(ADA, content=CONTENT + b"x" * 1000 + b"\r\n")
        assert [message.accepted for message in emu.messages] == [True]


async def test_a_server_may_give_up_while_content_arrives():
    fault = Fault(phase=Phase.CONTENT, reply="421 4.3.2 Service not active", recipient=ADA)
    async with Emulator(faults=[fault]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.submit(ADA))[-1] == "421 4.3.2 Service not active"
        assert emu.messages == []


async def test_plaintext_is_injected_in_the_segment_of_the_220():
    async with Emulator(faults=[Fault(action=Action.INJECT_PLAINTEXT, reply="235 evil")]) as emu, Talk(emu) as talk:
        await talk.reply()
        await talk.say("EHLO client")
        await talk.send(b"STARTTLS\r\n")
        assert await talk.reply() == "220 2.0.0 SMTP server ready"
        assert await talk.reply() == "235 evil"


@pytest.mark.parametrize(
    ("action", "keyword"),
    [
        (Action.NO_AUTH, "AUTH"),
        (Action.NO_PIPELINING, "PIPELINING"),
        (Action.NO_SMTPUTF8, "SMTPUTF8"),
        (Action.NO_8BITMIME, "8BITMIME"),
        (Action.NO_SIZE, "SIZE"),
    ],
)
async def test_a_keyword_is_left_out(action, keyword):
    async with Emulator(faults=[Fault(action=action)]) as emu, Talk(emu) as talk:
        assert keyword not in await talk.start_tls()


async def test_a_stripped_starttls_counts_the_credentials_of_who_signs_in_all_the_same():
    async with Emulator(faults=[Fault(action=Action.NO_STARTTLS)]) as emu, Talk(emu) as talk:
        await talk.reply()
        keywords = await talk.say("EHLO client")
        assert "STARTTLS" not in keywords
        assert "AUTH LOGIN" in keywords
        assert emu.counters.plaintext_credential_octets == 0
        await talk.say(f"AUTH LOGIN {b64('me@contoso.test')}")
        await talk.say(b64("secret-password"))
        assert emu.counters.plaintext_credential_octets > len("secret-password")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action.WRONG_NAME, "Hostname mismatch"),
        (Action.EXPIRED, "certificate has expired"),
        (Action.NOT_YET_VALID, "certificate is not yet valid"),
        (Action.SELF_SIGNED, "self.signed certificate"),
        (Action.UNKNOWN_CA, "unable to get (local )?issuer certificate"),
    ],
)
async def test_a_certificate_that_must_not_be_trusted_is_shown(action, words):
    async with Emulator(faults=[Fault(action=action, times=1)]) as emu:
        async with Talk(emu) as talk:
            with pytest.raises(ssl.SSLCertVerificationError, match=words):
                await talk.start_tls()
        async with Talk(emu) as talk:
            assert (await talk.sign_in()).startswith("235")


async def test_a_server_may_speak_nothing_newer_than_tls_1_1():
    async with Emulator(faults=[Fault(action=Action.OLD_TLS, times=1)]) as emu:
        async with Talk(emu) as talk:
            with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|protocol version|unsupported protocol"):
                await talk.start_tls()
        assert emu.counters.handshakes_failed == 1
        async with Talk(emu) as talk:
            assert (await talk.sign_in()).startswith("235")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_certificate_is_good_for_the_loopback(host):
    async with Emulator() as emu:
        context = ssl.create_default_context(cadata=emu.ca_pem.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", emu.https_port, ssl=context, server_hostname=host)
        writer.transport.abort()


@pytest.mark.parametrize("action", [Action.DROP, Action.CLOSE])
async def test_a_handshake_is_broken_off(action):
    async with Emulator(faults=[Fault(phase=Phase.TLS, action=action)]) as emu, Talk(emu) as talk:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await talk.start_tls()
        assert emu.counters.plaintext_credential_octets == 0


async def test_a_token_may_be_refused_by_challenge_first():
    async with Emulator(faults=[Fault(action=Action.CHALLENGE)]) as emu, Talk(emu) as talk:
        await talk.start_tls()
        string = b64(f"user={DEFAULT_ADDRESS}\x01auth=Bearer x\x01\x01")
        assert (await talk.say(f"AUTH XOAUTH2 {string}")).startswith("334 ey")
        assert (await talk.say("")).startswith("535 5.7.3 Authentication unsuccessful [")


async def test_a_sign_in_is_refused_on_order_whatever_the_password():
    fault = CATALOGUE["basic-auth-disabled"].fault()
    fault.login = DEFAULT_ADDRESS
    async with Emulator(faults=[fault]) as emu, Talk(emu) as talk:
        assert "basic authentication is disabled. [EM0P282CA0001.emulator.postroom 20" in await talk.sign_in()
        assert emu.counters.auth_failed == 1


async def test_a_refused_sign_in_can_be_slow():
    async with Emulator(limits=Limits(auth_failure_delay=5)) as emu, Talk(emu) as talk:
        refused = asyncio.create_task(talk.sign_in(DEFAULT_ADDRESS, "wrong"))
        await asyncio.sleep(0.1)
        assert not refused.done()
        emu.clock.advance(5)
        assert (await refused).startswith("535")


async def test_open_sessions_are_cut_from_outside():
    async with Emulator() as emu, Talk(emu) as idle, Talk(emu) as other:
        await idle.sign_in()
        await other.start_tls()
        assert await emu.cut_sessions(login=DEFAULT_ADDRESS.upper()) == 1
        assert await idle.rest() == b""
        assert await other.say("NOOP") == "250 2.0.0 OK"
        assert await emu.cut_sessions(Action.DROP) == 1
        with pytest.raises(ConnectionResetError):
            await other.rest()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "needs a phase"),
        ({"phase": "dot"}, "needs a reply or an action"),
        ({"phase": "moon", "reply": BUSY}, "not a valid Phase"),
        ({"phase": "dot", "action": "explode"}, "not a valid Action"),
        ({"phase": "dot", "reply": "no code"}, "a reply is a code"),
        ({"phase": "dot", "reply": "250-x"}, "a reply is a code"),
        ({"phase": "dot", "reply": "250 a\r\nb"}, "a reply is a code"),
        ({"phase": "mail", "action": "drop-after-dot"}, "strikes in phase dot only"),
        ({"phase": "ehlo", "reply": BUSY, "recipient": ADA}, "cannot name a recipient"),
        ({"phase": "mail", "reply": BUSY, "message_id": "x"}, "cannot name a Message-ID"),
        ({"phase": "ehlo", "reply": BUSY, "login": "x"}, "cannot name a login"),
        ({"phase": "tls", "reply": BUSY}, "in phase tls"),
        ({"phase": "content", "action": "bare-lf"}, "in phase content"),
        ({"phase": "dot", "reply": BUSY, "times": 0}, "from 1"),
        ({"phase": "dot", "reply": BUSY, "seconds": -1}, "seconds"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Fault(**wrong)
