"""The limits of Exchange: three sessions, thirty a minute, ten thousand a day, Send-As, and continuous errors."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from app.emulator import DEFAULT_ADDRESS, Account, Emulator, Limits
from app.emulator.exchange import family_of
from tests.emulator.talk import CONTENT, Talk

ME = Account("me@contoso.test", "secret", ("billing@contoso.test", "*@invoices.contoso.test"))


async def test_the_message_of_a_fourth_session_is_refused_at_the_dot():
    async with Emulator() as emu, AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(Talk(emu)) for _ in range(4)]
        for talk in talks:
            assert (await talk.sign_in()).startswith("235")
        replies = [(await talk.submit("ada@customer.test"))[-1] for talk in talks]
        assert [reply[:9] for reply in replies] == ["250 2.0.0"] * 3 + ["432 4.3.2"]
        assert emu.counters.login(DEFAULT_ADDRESS).max_sessions_open == 4
        await talks[0].say("QUIT")
        assert (await talks[3].submit("ada@customer.test"))[-1].startswith("250 ")
        assert emu.counters.limits == {"concurrency": 1}


async def test_the_thirty_first_message_within_any_minute_is_refused():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        for _ in range(15):
            await talk.submit("ada@customer.test")
        emu.clock.advance(30)
        verdicts = [(await talk.submit("ada@customer.test"))[-1][:9] for _ in range(16)]
        assert verdicts == ["250 2.0.0"] * 15 + ["451 4.7.0"]
        emu.clock.advance(30)
        assert (await talk.submit("ada@customer.test"))[-1].startswith("250 ")
        assert emu.counters.limits == {"rate": 1}
        login = emu.counters.login(DEFAULT_ADDRESS)
        assert (login.max_accepted_per_minute, login.max_transactions_per_minute) == (30, 31)


class Noon:
    """A clock that stands still ten seconds before the minute."""

    boot_id = "noon"

    def now(self) -> datetime:
        return datetime(2026, 11, 25, 11, 59, 50, tzinfo=UTC)

    def boot(self) -> float:
        return 1000.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        await event.wait()
        return True


async def test_by_clock_minutes_the_window_opens_at_the_full_minute():
    limits = Limits(messages_per_minute=1, window="calendar")
    async with Emulator(limits=limits, clock=Noon()) as emu, Talk(emu) as talk:
        await talk.sign_in()
        verdicts = [(await talk.submit("ada@customer.test"))[-1][:3] for _ in range(2)]
        emu.clock.advance(10)
        verdicts.append((await talk.submit("ada@customer.test"))[-1][:3])
        assert verdicts == ["250", "451", "250"]
        assert emu.clock.now() - Noon().now() == timedelta(seconds=10)


async def test_what_is_over_the_rate_can_be_delayed_in_place_of_refused():
    async with Emulator(limits=Limits(messages_per_minute=1, over_rate="delay")) as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit("ada@customer.test")
        second = asyncio.create_task(talk.submit("ada@customer.test"))
        await asyncio.sleep(0.05)
        assert len(emu.messages) == 1
        emu.clock.advance(60)
        assert (await second)[-1].startswith("250 ")


async def test_recipients_are_counted_over_any_24_hours():
    async with Emulator(limits=Limits(recipients_per_day=3, idle=0, age=0)) as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit("a@customer.test", "b@customer.test")
        refused = (await talk.submit("c@customer.test", "d@customer.test"))[-1]
        assert refused == "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"
        assert (await talk.submit("c@customer.test"))[-1].startswith("250 ")
        emu.clock.advance(86_400)
        assert (await talk.submit("a@customer.test", "b@customer.test", "c@customer.test"))[-1].startswith("250 ")


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("me@contoso.test", "250 2.0.0"),
        ("ME@Contoso.Test", "250 2.0.0"),
        ("billing@contoso.test", "250 2.0.0"),
        ("anything@invoices.contoso.test", "250 2.0.0"),
        ("other@contoso.test", "554 5.2.252"),
        ("x@sub.invoices.contoso.test", "554 5.2.252"),
    ],
)
async def test_from_must_be_granted_to_the_login(sender, code):
    async with Emulator([ME]) as emu, Talk(emu) as talk:
        await talk.sign_in(ME.address, "secret")
        reply = (await talk.submit("ada@customer.test", content=CONTENT.replace(b"me@contoso.test", sender.encode())))[
            -1
        ]
        assert reply.startswith(code)


async def test_a_send_as_refusal_is_one_line_of_more_than_two_kilobytes():
    async with Emulator([ME]) as emu, Talk(emu) as talk:
        await talk.sign_in(ME.address, "secret")
        reply = (await talk.submit("ada@customer.test", content=b"From: x@y.test\r\n\r\n"))[-1]
        start = (
            "554 5.2.252 SendAsDenied; me@contoso.test not allowed to send as x@y.test; STOREDRV.Submission.Exception:"
        )
        assert reply.startswith(start)
        assert "[BeginDiagnosticData]" in reply
        assert 2048 < len(reply) < 4096
        assert "\n" not in reply


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Subject: no From at all", "550 5.7.512 "),
        (b"From: nobody", "550 5.7.512 "),
        (b"From: a@contoso.test, b@contoso.test", "550 5.1.20 "),
        (b"From: a@contoso.test, b@contoso.test\r\nSender: a@contoso.test", "250 "),
        (b'From: "b@evil.test, c" <a@contoso.test>', "250 "),
        (b"From: a@contoso.test\r\nX: " + b"x" * 300_000, "552 5.3.4 Header size exceeds"),
    ],
)
async def test_a_header_is_judged_at_the_dot(header, expected):
    async with Emulator([Account("a@contoso.test", "s", ("b@contoso.test",))]) as emu, Talk(emu) as talk:
        await talk.sign_in("a@contoso.test", "s")
        assert (await talk.submit("ada@customer.test", content=header + b"\r\n\r\nx\r\n"))[-1].startswith(expected)


async def test_size_and_number_of_recipients_have_their_bounds():
    async with Emulator(limits=Limits(recipients_per_message=2, message_size=len(CONTENT))) as emu, Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.submit("a@b.test", content=CONTENT + b"x\r\n"))[-1].startswith("552 5.3.4 Message size")
        many = await talk.submit("a@b.test", "b@b.test", "c@b.test")
        assert many[-1] == "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients"
        assert (await talk.submit("a@b.test", "b@b.test"))[-1].startswith("250 ")


async def test_the_thousand_and_first_recipient_is_refused_at_rcpt():
    async with Emulator(limits=Limits(recipients_per_message=0)) as emu, Talk(emu) as talk:
        await talk.sign_in()
        replies = await talk.submit(*(f"r{number}@b.test" for number in range(1001)))
        assert replies[1001:1003] == ["250 2.1.5 Recipient OK", "452 4.5.3 Too many recipients"]
        assert len(emu.messages[0].rcpt_tos) == 1000


@pytest.mark.parametrize(
    ("named", "throttled"),
    [
        ("mailbox-full", "550 5.2.251 "),
        ("send-as-denied", "550 5.2.252 Sender throttled"),
        ("invalid-license", "550 5.2.253 "),
        ("recipient-limit", "550 5.2.254 "),
        ("invalid-recipient", "550 5.2.255 "),
        ("unknown-recipient", "550 5.2.255 "),
    ],
)
async def test_failures_that_go_on_block_the_whole_mailbox(named, throttled):
    limits = Limits(throttle_after=2, throttle_within=600, throttle_for=3600, messages_per_minute=0, idle=0, age=0)
    async with Emulator(limits=limits) as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit(f"{named}@emulator.postroom")
        emu.clock.advance(600)
        await talk.submit(f"{named}@emulator.postroom")
        assert (await talk.submit("ada@customer.test"))[-1].startswith("250 ")
        await talk.submit(f"{named}@emulator.postroom")
        assert (await talk.submit("ada@customer.test"))[-1].startswith(throttled)
        assert emu.counters.limits == {"throttled": 1}
        emu.clock.advance(3600)
        assert (await talk.submit("ada@customer.test"))[-1].startswith("250 ")


@pytest.mark.parametrize(
    "reply",
    [
        "250 2.0.0 OK",
        "550 5.2.251 Sender throttled due to continuous mailbox full errors.",
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        "432 4.3.2 Concurrent connections limit exceeded.",
    ],
)
def test_other_replies_count_towards_no_family(reply):
    assert family_of(reply) is None


@pytest.mark.parametrize("wrong", [{"sessions": -1}, {"window": "weekly"}, {"over_rate": "x"}, {"idle": float("nan")}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)
