"""Why no session could be opened is told in a bounded word and a sentence, and no credential left before TLS stood."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from app.mail.reply import Phase
from app.mail.transaction import ConnectTrouble
from app.smtp import Features, Pool, Timeouts, tls_context
from tests.support.scripted_smtp import BANNER, CLEAR_EHLO, Peer, Script, Scripted
from tests.support.smtp_stage import PASSWORD, TIMEOUTS, MakePool, Notes, pools, submit

NOW = datetime.now(UTC)


def within(reason: str) -> Timeouts:
    return replace(TIMEOUTS, connect=0.2 if reason == "timeout" else 5.0)


async def trouble(pool: Pool) -> ConnectTrouble:
    with pytest.raises(ConnectTrouble) as caught:
        async with pool.lend():
            pass
    assert pool.open == pool.busy == pool.opened == 0
    assert PASSWORD not in str(caught.value) + repr(caught.value)
    return caught.value


# ---------------------------------------------------------------- the network


async def test_a_name_that_does_not_resolve(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(*args: object, **kwargs: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nowhere)
    told = await trouble(make_pool(587, host="no-such-host.example"))
    assert told.reason == "dns"
    assert told.text == (
        "no session with no-such-host.example:587 (connecting): its name cannot be resolved (Name or service not known)"
    )


async def test_a_name_that_is_none(make_pool: MakePool) -> None:
    assert (await trouble(make_pool(587, host="a" * 64 + ".example"))).reason == "dns"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_where_nobody_listens(host: str, make_pool: MakePool) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    notes = Notes()
    assert (await trouble(make_pool(port, host=host, observe=notes))).reason == "refused"
    assert notes.failed == ["refused"]


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (OSError(101, "Network is unreachable"), "unreachable"),
        (OSError(113, "No route to host"), "unreachable"),
        (
            OSError("Multiple exceptions: [Errno 101] Network is unreachable, [Errno 113] No route to host"),
            "unreachable",
        ),
        (OSError("Multiple exceptions: [Errno 101] unreachable, [Errno 111] Connect call failed"), "refused"),
        (TimeoutError(110, "Connection timed out"), "timeout"),
        (OSError("Multiple exceptions: [Errno 101] unreachable, [Errno 110] timed out"), "timeout"),
        (ConnectionResetError(104, "Connection reset by peer"), "closed"),
    ],
)
async def test_what_the_network_says(
    problem: OSError, reason: str, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*args: object, **kwargs: object) -> object:
        raise problem

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", failing)
    assert (await trouble(make_pool(587))).reason == reason


# ---------------------------------------------------------------- what the server says in the clear


def saying(*steps: bytes, then: str = "stay") -> Script:
    """Say each step, a line of the client between; then stay, close, or reset."""

    async def script(peer: Peer) -> None:
        for number, step in enumerate(steps):
            if number:
                await peer.line()
            await peer.say(step)
        if then != "stay":
            getattr(peer, then)()
        rest = await peer.rest()
        assert b"AUTH" not in rest

    return script


GO = b"220 2.0.0 go\r\n"


@pytest.mark.parametrize(
    ("script", "reason", "text"),
    [
        (saying(b"554 5.3.2 go away\r\n"), "greeting", "{} answered 554 5.3.2 go away (connecting)"),
        (saying(b"421-4.3.2 busy\r\n421 4.3.2 later\r\n"), "greeting", "{} answered 421 4.3.2 busy later (connecting)"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "greeting", "{} does not speak SMTP (connecting)"),
        (saying(b"", then="close"), "closed", "no session with {} (connecting): it closed the connection"),
        (saying(b"220 half a li", then="close"), "closed", "no session with {} (connecting): it closed the connection"),
        (saying(b""), "timeout", "no answer from {} within 0.2 s (connecting)"),
        (saying(BANNER, b"502 5.5.1 no EHLO\r\n"), "reply", "{} answered 502 5.5.1 no EHLO (EHLO)"),
        (saying(BANNER, b"421 4.3.2 bye\r\n"), "reply", "{} answered 421 4.3.2 bye (EHLO)"),
        (saying(BANNER, b""), "timeout", "no answer from {} within 0.2 s (EHLO)"),
        (saying(BANNER, b"", then="close"), "closed", "no session with {} (EHLO): it closed the connection"),
        (
            saying(BANNER, b"250-a\n250 STARTTLS\r\n"),
            "reply",
            "{} does not speak SMTP: it sent a line that ends with a bare LF",
        ),
        (
            saying(BANNER, b"250-" + b"x" * 9000 + b"\r\n250 STARTTLS\r\n"),
            "reply",
            "{} does not speak SMTP: it sent a reply of more than 8192 octets",
        ),
        (
            saying(BANNER, b"250-scripted\r\n250 AUTH LOGIN PLAIN\r\n"),
            "starttls-missing",
            "{} does not offer STARTTLS; nothing is said in the clear",
        ),
        (
            saying(BANNER, CLEAR_EHLO, b"454 4.7.0 no TLS now\r\n"),
            "reply",
            "{} answered 454 4.7.0 no TLS now (STARTTLS and the TLS handshake)",
        ),
        (
            saying(BANNER, CLEAR_EHLO, b"", then="close"),
            "closed",
            "no session with {} (STARTTLS and the TLS handshake): it closed the connection",
        ),
        (
            saying(BANNER, CLEAR_EHLO, GO),
            "timeout",
            "no answer from {} within 0.2 s (STARTTLS and the TLS handshake)",
        ),
        (
            saying(BANNER, CLEAR_EHLO, GO, then="close"),
            "closed",
            "no session with {} (STARTTLS and the TLS handshake): it closed the connection",
        ),
        (
            saying(BANNER, CLEAR_EHLO, GO, then="reset"),
            "closed",
            "no session with {} (STARTTLS and the TLS handshake): it closed the connection",
        ),
        (
            saying(BANNER, CLEAR_EHLO, GO + b"250 AUTH PLAIN\r\n"),
            "injected",
            "octets that nobody asked for came from {} before TLS stood",
        ),
        (
            saying(BANNER, CLEAR_EHLO, GO + b"2"),
            "injected",
            "octets that nobody asked for came from {} before TLS stood",
        ),
        (
            saying(BANNER, CLEAR_EHLO + b"220 injected\r\n"),
            "injected",
            "octets that nobody asked for came from {} before TLS stood",
        ),
    ],
)
async def test_what_the_server_says_before_tls(
    script: Script, reason: str, text: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    notes = Notes()
    async with Scripted(script, server_tls).listening() as server:
        told = await trouble(make_pool(server.port, timeouts=within(reason), observe=notes))
    assert (told.reason, told.text) == (reason, text.format(f"localhost:{server.port}"))
    assert notes.failed == [reason] and notes.connections == []
    assert (told.reply is not None) == ("answered" in text)


async def test_octets_injected_before_the_handshake_never_become_part_of_the_session(
    server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    """In a segment of their own they break the handshake."""

    async def script(peer: Peer) -> None:
        await peer.say(BANNER)
        await peer.line()
        await peer.say(CLEAR_EHLO)
        await peer.line()
        await peer.say(GO)
        await asyncio.sleep(0.05)
        await peer.say(b"250-injected\r\n250 AUTH PLAIN\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        assert (await trouble(make_pool(server.port))).reason == "tls-failed"


@pytest.mark.parametrize(
    ("ehlo", "reason"),
    [
        (b"421 4.3.2 bye\r\n", "reply"),
        (b"554 5.7.1 no\r\n", "reply"),
        (b"250-a\n250 AUTH LOGIN\r\n", "reply"),
        (b"250 AUTH LOGIN\r\n250 and more\r\n", "reply"),
        (b"250-half\r\n", "timeout"),
    ],
)
async def test_what_the_server_says_to_the_ehlo_under_tls(
    ehlo: bytes, reason: str, server_tls: ssl.SSLContext, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(ehlo)
        assert await peer.rest() == b""

    async with Scripted(script, server_tls).listening() as server:
        told = await trouble(make_pool(server.port, timeouts=within(reason)))
    assert told.reason == reason
    assert told.reply is None or told.reply.phase is Phase.STARTTLS


async def test_what_was_offered_in_the_clear_is_forgotten(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def script(peer: Peer) -> None:
        await peer.say(BANNER)
        await peer.line()
        await peer.say(b"250-a\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
        await peer.line()
        await peer.say(GO)
        await peer.start_tls()
        assert await peer.line() == b"EHLO postroom.example.com"
        await peer.say(b"250-a\r\n250-SIZE 1000\r\n250 AUTH LOGIN\r\n")
        assert (await peer.line()).startswith(b"AUTH LOGIN")
        await peer.say(b"334 UGFzc3dvcmQ6\r\n")
        await peer.line()
        await peer.say(b"235 ok\r\n")
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server:
        pool = make_pool(server.port)
        assert pool.features is None
        async with pool.lend():
            pass
    assert pool.features == Features(1000, pipelining=False, smtputf8=False, mechanisms=frozenset({"LOGIN"}))


# ---------------------------------------------------------------- certificates


def contexts() -> dict[str, tuple[str, ssl.SSLContext, trustme.CA]]:
    """Name of the flaw: reason, the server's context, and the authority that the client trusts."""
    ours, others = trustme.CA(), trustme.CA()
    issued = {
        "another name": ("tls-name", ours.issue_cert("mail.example.com")),
        "expired": ("tls-expired", ours.issue_cert("localhost", not_after=NOW - timedelta(days=1))),
        "not yet valid": ("tls-not-yet-valid", ours.issue_cert("localhost", not_before=NOW + timedelta(days=1))),
        "another authority": ("tls-untrusted", others.issue_cert("localhost")),
    }
    made = {}
    for flaw, (reason, leaf) in issued.items():
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)
        made[flaw] = reason, context, ours
    return made


CONTEXTS = contexts()


@pytest.mark.parametrize("flaw", CONTEXTS)
async def test_a_certificate_that_is_not_to_be_trusted(flaw: str, tmp_path: Path) -> None:
    reason, context, authority = CONTEXTS[flaw]
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.say(BANNER)
        heard.append(await peer.line())
        await peer.say(CLEAR_EHLO)
        heard.append(await peer.line())
        await peer.say(GO)
        await peer.start_tls()
        heard.append(await peer.rest())

    async with pools(tls_context(tmp_path / "ca.pem")) as make_pool, Scripted(script, context).listening() as server:
        told = await trouble(make_pool(server.port))
    assert told.reason == reason
    assert "its certificate is refused: " in told.text
    assert b"".join(heard) == b"EHLO postroom.example.comSTARTTLS"


async def test_a_certificate_that_vouches_for_itself(tmp_path: Path, trust: ssl.SSLContext) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "key.pem").write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context.load_cert_chain(tmp_path / "key.pem")

    async def script(peer: Peer) -> None:
        await peer.greet()

    async with pools(trust) as make_pool, Scripted(script, context).listening() as server:
        assert (await trouble(make_pool(server.port))).reason == "tls-untrusted"


async def test_a_server_that_speaks_only_old_tls(
    server_tls: ssl.SSLContext, authority: trustme.CA, make_pool: MakePool
) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    authority.issue_cert("localhost").configure_cert(old)

    async def script(peer: Peer) -> None:
        await peer.greet()

    async with Scripted(script, old).listening() as server:
        assert (await trouble(make_pool(server.port))).reason in ("tls-failed", "closed")


async def test_an_ip_address_is_a_name_too(
    server_tls: ssl.SSLContext, authority: trustme.CA, make_pool: MakePool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.rest()

    async with Scripted(script, server_tls).listening() as server, make_pool(server.port, host="127.0.0.1").lend():
        pass
    only_name = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(only_name)
    async with Scripted(script, only_name).listening() as server:
        assert (await trouble(make_pool(server.port, host="127.0.0.1"))).reason == "tls-name"


def test_the_context_verifies_chain_and_name(ca_file: Path) -> None:
    for context in (tls_context(None), tls_context(ca_file)):
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(tls_context(ca_file).get_ca_certs()) == len(tls_context(None).get_ca_certs()) + 1


def test_an_authority_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(OSError):
            tls_context(tmp_path / name)


async def test_after_a_failure_the_next_attempt_is_made_anew(server_tls: ssl.SSLContext, make_pool: MakePool) -> None:
    async def well(peer: Peer) -> None:
        await peer.welcome()
        await peer.accept()
        await peer.until(b"\r\n.\r\n")
        await peer.say(b"250 ok\r\n")
        await peer.rest()

    async with Scripted([saying(b"421 busy\r\n"), well], server_tls).listening() as server:
        pool = make_pool(server.port)
        assert (await trouble(pool)).reason == "greeting"
        assert (await submit(pool)).dot is not None
