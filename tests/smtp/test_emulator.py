"""Against the emulator of Exchange Online: the normal day, hostile certificates, and faults on order."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from app.emulator import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Account, Action, Emulator, Fault, Limits, Phase
from app.mail.credential import TokenCredential
from app.mail.transaction import ConnectTrouble, Fate, SignInRefused
from tests.support.smtp_stage import (
    PASSWORD,
    USER,
    MakePool,
    Notes,
    Octets,
    Tokens,
    access_token,
    envelope,
    pools,
    submit,
)

CONTENT = b"From: <noreply@example.com>\r\nSubject: hello\r\nMessage-ID: <1@example.com>\r\n\r\n.dots\r\nend\r\n"
SCOPE = "https://outlook.office365.com/.default"
LARGE = CONTENT + (b"x" * 76 + b"\r\n") * 3000


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator([Account(USER, PASSWORD)], limits=Limits(messages_per_minute=0)) as emulator:
        yield emulator


@pytest.fixture
async def make_pool(emulator: Emulator) -> AsyncIterator[MakePool]:
    trust = ssl.create_default_context(cadata=emulator.ca_pem.decode())
    async with pools(trust) as make:
        yield make


def content(octets: bytes = CONTENT) -> Octets:
    return Octets(*(octets[at : at + 100_000] for at in range(0, len(octets), 100_000)))


def token_of(emulator: Emulator) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": DEFAULT_CLIENT_ID,
        "client_secret": DEFAULT_CLIENT_SECRET,
        "scope": SCOPE,
    }
    token: str = emulator.tokens.grant("contoso", form, "https://login.example/token")["access_token"]
    return token


async def test_a_run_of_messages_over_three_sessions_takes_two_round_trips_each(
    emulator: Emulator, make_pool: MakePool
) -> None:
    pool = make_pool(emulator.port)

    async def worker() -> None:
        for _ in range(10):
            replies = await submit(pool, envelope(size=len(CONTENT)), content())
            assert replies.dot is not None and str(replies.dot).startswith("250 2.0.0 OK <1@example.com> [Hostname=")

    await asyncio.gather(*(worker() for _ in range(3)))
    assert pool.opened == 3
    await pool.close(2.0)
    assert len(emulator.accepted) == 30
    assert {message.raw for message in emulator.accepted} == {CONTENT}
    assert {(message.login, message.mail_from, message.rcpt_tos) for message in emulator.accepted} == {
        (USER, USER, ("anna@example.org",))
    }
    assert {message.round_trips for message in emulator.accepted} == {2}
    assert emulator.counters.plaintext_credential_octets == 0


async def test_large_content_arrives_right(emulator: Emulator, make_pool: MakePool) -> None:
    pool = make_pool(emulator.port)
    replies = await submit(pool, envelope(size=len(LARGE)), content(LARGE))
    assert replies.fate is Fate.ANSWERED
    assert [message.raw for message in emulator.accepted] == [LARGE]


async def test_a_token_of_the_emulator_signs_in(emulator: Emulator, make_pool: MakePool) -> None:
    source = Tokens(access_token(token_of(emulator), ends_at=float("inf")))
    pool = make_pool(emulator.port, credential=TokenCredential(USER, source))
    assert (await submit(pool, content=content())).dot is not None
    assert emulator.counters.plaintext_credential_octets == 0


async def test_a_revoked_token_is_replaced_by_a_fresh_one(emulator: Emulator, make_pool: MakePool) -> None:
    old = token_of(emulator)
    emulator.tokens.revoke()
    source = Tokens(access_token(old, float("inf")), access_token(token_of(emulator), float("inf")))
    pool = make_pool(emulator.port, credential=TokenCredential(USER, source))
    assert (await submit(pool, content=content())).dot is not None
    assert source.asked == [False, True]
    assert emulator.counters.auth_failed == 1


async def test_a_challenge_with_json_is_answered_and_its_words_kept(emulator: Emulator, make_pool: MakePool) -> None:
    emulator.order(Fault(action=Action.CHALLENGE))
    source = Tokens(access_token(token_of(emulator), float("inf")))
    with pytest.raises(SignInRefused) as caught:
        await submit(make_pool(emulator.port, credential=TokenCredential(USER, source)), content=content())
    assert caught.value.code == "535 5.7.3"
    assert caught.value.text.endswith("it told: status 401, schemes bearer, scope https://outlook.office365.com/")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(action=Action.WRONG_NAME), "tls-name"),
        (Fault(action=Action.EXPIRED), "tls-expired"),
        (Fault(action=Action.NOT_YET_VALID), "tls-not-yet-valid"),
        (Fault(action=Action.SELF_SIGNED), "tls-untrusted"),
        (Fault(action=Action.UNKNOWN_CA), "tls-untrusted"),
        (Fault(phase=Phase.TLS, action=Action.CLOSE), "closed"),
        (Fault(phase=Phase.TLS, action=Action.DROP), "closed"),
        (Fault(action=Action.NO_STARTTLS), "starttls-missing"),
        (Fault(action=Action.INJECT_PLAINTEXT, reply="250 AUTH PLAIN"), "injected"),
        (Fault(action=Action.NO_AUTH), "reply"),
        (Fault(phase=Phase.CONNECT, reply="421 4.3.2 Service not active"), "greeting"),
        (Fault(phase=Phase.CONNECT, reply="554 5.3.2 No"), "greeting"),
        (Fault(phase=Phase.CONNECT, action=Action.DROP), "closed"),
        (Fault(phase=Phase.CONNECT, action=Action.HALF_REPLY), "closed"),
        (Fault(phase=Phase.EHLO, reply="421 4.3.2 Service not available"), "reply"),
        (Fault(phase=Phase.EHLO, action=Action.BARE_LF), "reply"),
        (Fault(phase=Phase.EHLO, action=Action.OVERLONG_REPLY), "reply"),
        (Fault(phase=Phase.EHLO, action=Action.CLOSE, attempt=2), "closed"),
        (Fault(phase=Phase.EHLO, action=Action.TRUNCATE_TLS, attempt=2), "closed"),
        (Fault(phase=Phase.EHLO, action=Action.BARE_LF, attempt=2), "reply"),
        (Fault(phase=Phase.STARTTLS, reply="454 4.7.0 TLS not available"), "reply"),
        (Fault(phase=Phase.STARTTLS, action=Action.DROP), "closed"),
        (Fault(phase=Phase.AUTH, reply="454 4.7.0 Temporary authentication failure"), "reply"),
        (Fault(phase=Phase.AUTH, reply="421 4.7.0 Too many"), "reply"),
        (Fault(phase=Phase.AUTH, action=Action.DROP), "closed"),
        (Fault(phase=Phase.AUTH, action=Action.HALF_REPLY), "closed"),
        (Fault(phase=Phase.AUTH, action=Action.BARE_LF), "reply"),
        (Fault(phase=Phase.AUTH, action=Action.OUT_OF_TURN), "reply"),
    ],
    ids=lambda value: f"{value.phase}-{value.action or value.reply}" if isinstance(value, Fault) else value,
)
async def test_no_session_and_the_reason(fault: Fault, reason: str, emulator: Emulator, make_pool: MakePool) -> None:
    emulator.order(fault)
    notes = Notes()
    pool = make_pool(emulator.port, observe=notes)
    with pytest.raises(ConnectTrouble) as caught:
        await submit(pool, content=content())
    assert caught.value.reason == reason
    assert notes.failed == [reason] and pool.open == 0
    assert emulator.counters.plaintext_credential_octets == 0
    emulator.faults.clear()
    assert (await submit(pool, content=content())).dot is not None


BEFORE_THE_DOT = [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT]
CUTS = [Action.DROP, Action.CLOSE, Action.TRUNCATE_TLS, Action.HALF_REPLY]
CONFUSIONS = [Action.BARE_LF, Action.OVERLONG_REPLY, Action.OUT_OF_TURN]


@pytest.mark.parametrize("octets", [CONTENT, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("phase", "action"),
    [(phase, action) for phase in BEFORE_THE_DOT for action in CUTS]
    + [(phase, action) for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA) for action in CONFUSIONS],
)
async def test_whatever_breaks_before_the_dot_nothing_is_taken(
    phase: Phase, action: Action, octets: bytes, emulator: Emulator, make_pool: MakePool
) -> None:
    async def mark() -> bool:
        await asyncio.sleep(0.02)  # as a commit takes; meanwhile the cut is noticed
        return True

    emulator.order(Fault(phase=phase, action=action, times=1, octets=len(octets) // 2 if phase is Phase.CONTENT else 1))
    pool = make_pool(emulator.port)
    replies = await submit(pool, envelope(size=len(octets)), content(octets), mark)
    if phase is Phase.CONTENT and octets is CONTENT:
        # One write: the dot was on its way when the server left.
        assert replies.fate is Fate.UNANSWERED
    else:
        assert replies.fate is Fate.NOT_TAKEN
    assert emulator.accepted == [] and pool.open == 0
    again = await submit(pool, envelope(size=len(octets)), content(octets))
    assert again.fate is Fate.ANSWERED and [message.raw for message in emulator.accepted] == [octets]


@pytest.mark.parametrize(
    ("fault", "fate", "is_open"),
    [
        (Fault(action=Action.DROP_AFTER_DOT), Fate.UNANSWERED, False),
        (Fault(phase=Phase.DOT, action=Action.DROP), Fate.UNANSWERED, False),
        (Fault(phase=Phase.DOT, action=Action.HALF_REPLY), Fate.UNANSWERED, False),
        (Fault(phase=Phase.DOT, action=Action.BARE_LF), Fate.UNANSWERED, False),
        (Fault(phase=Phase.DOT, action=Action.OVERLONG_REPLY), Fate.UNANSWERED, False),
        (Fault(phase=Phase.DOT, action=Action.OUT_OF_TURN), Fate.ANSWERED, False),
        (Fault(phase=Phase.DOT, action=Action.CLOSE, reply="250 2.0.0 OK"), Fate.ANSWERED, False),
        (Fault(phase=Phase.DOT, reply="421 4.3.2 Service not active"), Fate.ANSWERED, False),
        (Fault(phase=Phase.DOT, reply="432 4.3.2 Concurrent connections limit exceeded"), Fate.ANSWERED, True),
        (Fault(phase=Phase.DOT, reply="554 5.2.252 SendAsDenied; " + "diagnostic " * 250), Fate.ANSWERED, True),
        (Fault(phase=Phase.RCPT, reply="550 5.1.1 nobody"), Fate.ANSWERED, True),
        (Fault(phase=Phase.MAIL, reply="550 5.7.60 not as this sender"), Fate.ANSWERED, True),
        (Fault(phase=Phase.RSET, reply="421 4.4.1 Connection timed out"), Fate.NOT_TAKEN, False),
        (Fault(phase=Phase.RSET, reply="451 4.7.0 Timeout waiting for client input"), Fate.NOT_TAKEN, False),
    ],
    ids=lambda value: f"{value.phase}-{value.action}-{(value.reply or '')[:3]}" if isinstance(value, Fault) else None,
)
async def test_the_fate_of_a_transaction(
    fault: Fault, fate: Fate, is_open: bool, emulator: Emulator, make_pool: MakePool
) -> None:
    emulator.order(fault)
    pool = make_pool(emulator.port)
    replies = await submit(pool, content=content())
    assert replies.fate is fate
    assert pool.open == is_open
    assert (replies.trouble is None) == (fate is Fate.ANSWERED)


@pytest.mark.parametrize(
    ("refused", "accepted"), [(Phase.MAIL, 0), (Phase.RCPT, 0)], ids=["mail refused", "recipients refused"]
)
async def test_354_anyway_takes_no_message(
    refused: Phase, accepted: int, emulator: Emulator, make_pool: MakePool
) -> None:
    emulator.order(Fault(phase=refused, reply="550 5.7.1 no"))
    emulator.order(Fault(action=Action.ANYWAY_354))
    replies = await submit(make_pool(emulator.port), content=content())
    assert replies.fate is Fate.ANSWERED and replies.dot is None
    assert all(CONTENT not in message.raw for message in emulator.messages)
    assert (replies.incident is not None) or refused is Phase.RCPT


@pytest.mark.parametrize("how", [Action.CLOSE, Action.DROP, Action.TRUNCATE_TLS])
async def test_an_idle_cut_costs_nothing(how: Action, emulator: Emulator, make_pool: MakePool) -> None:
    pool = make_pool(emulator.port)
    await submit(pool, content=content())
    assert await emulator.cut_sessions(how) == 1
    async with asyncio.timeout(2.0):
        while pool.open:
            await asyncio.sleep(0.002)
    assert (await submit(pool, content=content())).dot is not None
    assert pool.opened == 2


async def test_exchange_cuts_at_five_minutes_of_idleness(emulator: Emulator, make_pool: MakePool) -> None:
    notes = Notes()
    pool = make_pool(emulator.port, observe=notes)
    await submit(pool, content=content())
    emulator.clock.advance(301.0)
    async with asyncio.timeout(2.0):
        while pool.open:
            await asyncio.sleep(0.002)
    assert notes.ends == ["out-of-turn"]
    assert (await submit(pool, content=content())).dot is not None
