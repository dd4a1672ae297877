"""The HTTP side: what arrived, faults, counters, accounts, clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.emulator import DEFAULT_ADDRESS, Emulator, Fault, Phase, TokenAction, TokenFault
from tests.emulator.talk import CONTENT, Talk

ADA = "ada@customer.test"


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def http(emu: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=emu.http_url, trust_env=False) as client:
        yield client


async def test_what_arrived_can_be_listed_read_and_forgotten(emu, http):
    async with Talk(emu) as talk:
        await talk.sign_in()
        encoded = CONTENT.replace(b"Hello\r\n", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n", 1)
        await talk.submit(ADA, content=encoded)
        await talk.submit("mailbox-full@emulator.postroom")
    first, second = (await http.get("/messages")).json()
    assert first["number"] == 1
    assert first["rcpt_tos"] == [ADA]
    assert first["login"] == first["mail_from"] == DEFAULT_ADDRESS
    assert first["subject"] == "Grüße"
    assert (first["accepted"], first["reply"][:3], first["size"]) == (True, "250", len(encoded))
    assert (second["accepted"], second["reply"][:9]) == (False, "554 5.2.2")
    assert (await http.get("/messages/1")).json() == first
    raw = await http.get(first["raw"])
    assert (raw.headers["content-type"], raw.content) == ("message/rfc822", encoded)
    assert (await http.delete("/messages")).status_code == 204
    assert (await http.get("/messages")).json() == []
    assert (await http.get("/messages/1/raw")).status_code == 404


async def test_faults_are_ordered_listed_and_cleared(emu, http):
    ordered = [
        {"phase": "dot", "recipient": ADA, "reply": "451 4.7.0 Busy", "times": 1},
        {"named": "account-locked", "login": DEFAULT_ADDRESS, "attempt": 2},
        {"phase": "token", "aadsts": 7000215},
    ]
    answer = await http.post("/faults", json=ordered)
    assert answer.status_code == 201
    assert [fault.get("phase") for fault in answer.json()] == ["dot", "auth", None]
    async with Talk(emu) as talk:
        await talk.sign_in()
        assert (await talk.submit(ADA))[-1] == "451 4.7.0 Busy"
    async with Talk(emu) as talk:
        assert "account locked" in await talk.sign_in()
    assert [fault["fired"] for fault in (await http.get("/faults")).json()] == [1, 1, 0]
    assert (await http.delete("/faults")).status_code == 204
    assert (await http.get("/faults")).json() == []


async def test_one_bad_fault_in_a_list_leaves_none_on_order(emu, http):
    answer = await http.post("/faults", json=[{"phase": "dot", "reply": "451 x"}, {"phase": "dot"}])
    assert answer.status_code == 400
    assert answer.json() == {"error": "a fault needs a reply or an action"}
    assert len(emu.faults) == 0


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/faults", "text", "a fault is a table"),
        ("/faults", {"phase": "dot", "reply": "451 x", "colour": "red"}, "a fault does not know colour"),
        ("/faults", {"phase": "moon", "reply": "451 x"}, "phase is one of connect, ehlo"),
        ("/faults", {"phase": "dot", "action": "explode"}, "action is one of drop, close"),
        ("/faults", {"phase": "dot", "reply": 451}, "reply is a text"),
        ("/faults", {"phase": "dot", "reply": "451 x", "times": True}, "times is a whole number"),
        ("/faults", {"phase": "dot", "action": "stall", "seconds": "x"}, "seconds is a number"),
        ("/faults", {"named": "nothing-like-it"}, "no reply is named"),
        ("/faults", {"phase": "token"}, "exactly one of"),
        ("/faults", {"phase": "token", "action": "explode"}, "action is one of stall"),
        ("/faults", {"phase": "token", "status": 200}, "from 400 to 599"),
        ("/accounts", {}, "an account lacks a name"),
        ("/accounts", {"address": "nobody"}, "look like name@domain"),
        ("/accounts", {"address": "a@b.test", "send_as": "c@b.test"}, "send_as is a list"),
        ("/apps", {"client_id": "x", "certificates": ["none"]}, "a certificate in PEM"),
        ("/apps", {"client_id": "x", "single_use": 1}, "true or false"),
        ("/latency", {"moon": 1}, "phase is one of"),
        ("/latency", {"dot": -1}, "latency of dot"),
        ("/clock", {"advance": -1}, "0 or more"),
        ("/clock", {}, "the body is"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused_in_words(http, path, body, words):
    answer = await http.post(path, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


async def test_bodies_are_bounded_and_must_be_json(http):
    assert (await http.post("/faults", content=b"{")).json() == {"error": "the body is not JSON"}
    assert (await http.post("/faults", content=b" " * (1024 * 1024 + 1))).status_code == 413
    assert (await http.post("/messages", json={})).status_code == 405
    assert (await http.get("/nowhere")).json() == {"error": "Not Found"}


async def test_an_account_that_was_added_may_sign_in(emu, http):
    account = {"address": "a@b.test", "password": "secret", "send_as": ["*@b.test"]}
    answer = await http.post("/accounts", json=account)
    assert answer.json() == {"address": "a@b.test", "send_as": ["*@b.test"]}
    async with Talk(emu) as talk:
        assert (await talk.sign_in("a@b.test", "secret")).startswith("235")


async def test_the_clock_is_moved_for_the_limits_as_well(emu, http):
    async with Talk(emu) as talk:
        await talk.sign_in()
        for _ in range(30):
            await talk.submit(ADA)
        assert (await talk.submit(ADA))[-1].startswith("451")
        assert "now" in (await http.post("/clock", json={"advance": 60})).json()
        assert (await talk.submit(ADA))[-1].startswith("250")


async def test_counters_tell_what_happened(emu, http):
    await http.post("/latency", json={"dot": 0.001})
    async with Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit(ADA, "bob@customer.test")
        await talk.submit("server-busy@emulator.postroom")
        counters = (await http.get("/counters")).json()
        assert counters["sessions_open"] == 1
    assert (counters["transactions"], counters["accepted"], counters["refused"]) == (2, 1, {"451": 1})
    assert (counters["auth_ok"], counters["auth_failed"], counters["faults"]) == (1, 0, 1)
    assert counters["logins"][DEFAULT_ADDRESS] == {
        "sessions_open": 1,
        "max_sessions_open": 1,
        "sign_ins": 1,
        "transactions": 2,
        "accepted": 1,
        "recipients_accepted": 2,
        "max_accepted_per_minute": 1,
        "max_transactions_per_minute": 2,
    }


async def test_a_reset_forgets_everything_but_accounts_and_open_sessions(emu, http):
    async with Talk(emu) as talk:
        await talk.sign_in()
        for _ in range(30):
            await talk.submit(ADA)
        emu.order(Fault(phase=Phase.DOT, reply="451 4.7.0 Busy"))
        assert (await http.post("/reset")).status_code == 204
        assert (await talk.submit(ADA))[-1].startswith("250")
        counters = (await http.get("/counters")).json()
        assert (counters["sessions_open"], counters["sessions_opened"], counters["accepted"]) == (1, 0, 1)
        assert counters["logins"][DEFAULT_ADDRESS]["sessions_open"] == 1
        assert len(emu.messages) == 1


async def test_the_authority_can_be_fetched_and_trusted(emu, http):
    answer = await http.get("/ca.pem")
    assert answer.content == emu.ca_pem
    assert "/messages" in (await http.get("/")).json()["see"]


async def test_waiting_for_messages_ends_with_its_time(emu):
    waiting = asyncio.create_task(emu.wait_for(1, seconds=60))
    await asyncio.sleep(0.01)
    emu.clock.advance(60)
    with pytest.raises(TimeoutError, match="0 of 1 messages came within 60 s"):
        await waiting


async def test_an_emulator_stops_quietly_whatever_is_going_on(caplog):
    async with Emulator(faults=[TokenFault(action=TokenAction.STALL), Fault(phase=Phase.EHLO, action="stall")]) as emu:
        _, asking = await asyncio.open_connection("127.0.0.1", emu.http_port)
        asking.write(b"POST /d/oauth2/v2.0/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        async with Talk(emu) as talk:
            await talk.send(b"EHLO client\r\n")
            await asyncio.sleep(0.05)
            assert emu.counters.token_requests == 1
            await emu.stop()
            assert (await talk.rest()).startswith(b"220 ")
        asking.transport.abort()
    assert caplog.records == []
