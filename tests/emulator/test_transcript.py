"""The transcript: what each client said, in order, and never a credential or a word of content."""

from __future__ import annotations

import httpx
import pytest

from app.emulator import DEFAULT_ADDRESS, DEFAULT_PASSWORD, Action, Emulator, Fault, Phase
from tests.emulator.talk import CONTENT, Talk, b64

ADA = "ada@customer.test"


def lines(emu: Emulator, session: int = 1) -> list[str]:
    return [line.what for line in emu.transcript if line.session == session]


async def test_a_session_reads_from_its_connection_to_its_end():
    async with Emulator() as emu:
        async with Talk(emu) as talk:
            await talk.sign_in()
            await talk.submit(ADA)
            await talk.say("QUIT")
            await talk.rest()
        assert lines(emu) == [
            "<connected>",
            "EHLO client.test",
            "STARTTLS",
            "<TLSv1.3>",
            "EHLO client.test",
            "AUTH LOGIN <hidden>",
            "RSET",
            f"MAIL FROM:<{DEFAULT_ADDRESS}>",
            f"RCPT TO:<{ADA}>",
            "DATA",
            f"<{len(CONTENT)} octets and the dot>",
            "QUIT",
            "<ended>",
        ]
        assert [line.at for line in emu.transcript] == sorted(line.at for line in emu.transcript)


async def test_sessions_are_told_apart():
    async with Emulator() as emu, Talk(emu) as first, Talk(emu) as second:
        await first.reply()
        await second.reply()
        await second.say("NOOP")
        assert "NOOP" in lines(emu, 2)
        assert "NOOP" not in lines(emu, 1)


async def test_content_that_never_came_to_its_dot_is_told_so():
    fault = Fault(phase=Phase.CONTENT, action=Action.DROP)
    async with Emulator(faults=[fault]) as emu, Talk(emu) as talk:
        await talk.sign_in()
        with pytest.raises((ConnectionResetError, EOFError)):
            await talk.submit(ADA)
        assert any(line.endswith("octets, no dot>") for line in lines(emu))
        assert not any(line.endswith("and the dot>") for line in lines(emu))


async def test_neither_a_credential_nor_content_is_ever_kept():
    async with Emulator() as emu, Talk(emu) as talk:
        await talk.sign_in()
        await talk.submit(ADA, content=CONTENT + b"a secret of the content\r\n")
        # A client out of step: a password where a command is expected, and content after a refused DATA.
        await talk.say(b64(DEFAULT_PASSWORD))
        await talk.say("a secret of the content")
        told = str(emu.transcript)
        assert b64(DEFAULT_PASSWORD) not in told
        assert b64(DEFAULT_ADDRESS) not in told
        assert "secret" not in told
        assert "no command" in told


async def test_it_is_there_over_http_and_forgotten_with_a_reset():
    async with (
        Emulator() as emu,
        httpx.AsyncClient(base_url=emu.http_url, trust_env=False) as http,
        Talk(emu) as talk,
    ):
        await talk.reply()
        await talk.say("NOOP")
        told = (await http.get("/transcript")).json()
        assert [(line["session"], line["what"]) for line in told] == [(1, "<connected>"), (1, "NOOP")]
        assert "/transcript" in (await http.get("/")).json()["see"]
        await http.post("/reset")
        assert (await http.get("/transcript")).json() == []
