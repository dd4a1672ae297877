"""A refused credential is remembered, and asked again when it changes or somebody says so; closing is orderly."""

import asyncio
from pathlib import Path

import pytest

from app.mail.transaction import ConnectTrouble
from app.signin.endpoint import LIMITS
from app.signin.methods import FederatedToken, RefreshToken
from app.signin.tokens import TokenRefused
from tests.support.manual_clock import ManualClock
from tests.support.token_desk import SECRET, Desk, desk_of
from tests.support.token_server import Answer, TokenServer, refusal


async def test_a_refusal_names_code_cause_and_cure_and_is_remembered_for_five_minutes(
    server: TokenServer, clock: ManualClock
) -> None:
    server.always = refusal(7000215, text="Invalid client secret provided.")
    async with desk_of(server, clock) as desk:
        for _ in range(5):
            with pytest.raises(TokenRefused) as caught:
                await desk.value()
            await desk.pass_(59)
        error = caught.value
        assert (error.code, error.reply) == ("AADSTS7000215", None)
        assert error.text == "AADSTS7000215: Invalid client secret provided."
        assert "Value" in error.cause
        assert "az ad app credential reset" in error.cure
        assert error.refusal.trace_id
        assert desk.asked == 1
        assert desk.counted == ["refused"]
        await desk.pass_(5)
        assert desk.asked == 2
        server.always = None
        await desk.pass_(300)
        assert await desk.value() == server.tokens[0]


async def test_a_reset_asks_at_once(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(refusal(7000222))
    async with desk_of(server, clock) as desk:
        with pytest.raises(TokenRefused):
            await desk.value()
        desk.tokens.reset()
        assert await desk.value() == server.tokens[0]


async def test_a_changed_credential_asks_at_once(server: TokenServer, clock: ManualClock, tmp_path: Path) -> None:
    server.script.append(refusal(700213, "invalid_request", 400))
    file = tmp_path / "projected"
    file.write_text("a.b.c")
    async with desk_of(server, clock, FederatedToken("contoso.com", "app-id", file)) as desk:
        for _ in range(2):
            with pytest.raises(TokenRefused):
                await desk.value()
        assert desk.asked == 1
        before = desk.tokens.mark
        file.write_text("d.e.f")
        assert await desk.value() == server.tokens[0]
        assert desk.tokens.mark != before


async def test_a_file_that_appears_is_used_at_once(server: TokenServer, clock: ManualClock, tmp_path: Path) -> None:
    file = tmp_path / "projected"
    async with desk_of(server, clock, FederatedToken("contoso.com", "app-id", file)) as desk:
        for _ in range(2):
            with pytest.raises(TokenRefused) as caught:
                await desk.value()
        assert caught.value.code == "credential-unreadable"
        assert desk.counted == ["refused"]
        file.write_text("a.b.c")
        assert await desk.value() == server.tokens[0]


async def test_a_refused_renewal_leaves_the_living_token_and_is_tried_every_five_minutes(
    server: TokenServer, clock: ManualClock
) -> None:
    async with desk_of(server, clock) as desk:
        old = await desk.value()
        server.always = refusal(7000222)
        await desk.pass_(3000 + 590)
        assert await desk.value() == old
        assert desk.asked == 1 + 2
        await desk.pass_(20)
        with pytest.raises(TokenRefused):
            await desk.value()


async def test_it_works_without_its_loop(server: TokenServer, clock: ManualClock) -> None:
    desk = Desk(server, clock, SECRET, LIMITS)
    assert await desk.value() == server.tokens[0]
    await clock.advance(3599)
    assert await desk.value() == server.tokens[0]
    await clock.advance(2)
    assert await desk.value() == server.tokens[1]


async def test_closing_ends_loop_and_request_and_leaves_the_living_token(
    server: TokenServer, clock: ManualClock
) -> None:
    desk = Desk(server, clock, SECRET, LIMITS)
    loop = asyncio.create_task(desk.tokens.run())
    token = await desk.tokens.token()
    await desk.tokens.close()
    await asyncio.wait_for(loop, 1)
    assert await desk.tokens.token() is token
    await clock.advance(3600)
    with pytest.raises(ConnectTrouble, match="stopping"):
        await desk.value()
    assert desk.asked == 1


async def test_closing_waits_for_the_request_under_way(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(Answer(hold=True, document={"access_token": "late", "expires_in": 3600}))
    desk = Desk(server, clock, SECRET, LIMITS)
    asking = asyncio.create_task(desk.value())
    await clock.until(lambda: desk.asked == 1)
    closing = asyncio.create_task(desk.tokens.close())
    await clock.settle()
    server.release()
    await closing
    assert await asking == "late"


async def test_closing_gives_up_on_a_silent_endpoint(
    server: TokenServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.signin.tokens._CLOSE_WAIT", 0.05)
    server.script.append(Answer(hold=True))
    desk = Desk(server, clock, SECRET, LIMITS)
    asking = asyncio.create_task(desk.value())
    await clock.until(lambda: desk.asked == 1)
    await desk.tokens.close()
    with pytest.raises(ConnectTrouble, match="stopping"):
        await asking
    assert not desk.tokens.is_asking


async def test_a_rotated_token_that_could_not_be_stored_is_stored_within_a_minute(
    server: TokenServer, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "refresh"
    file.write_text("first")
    async with desk_of(server, clock, RefreshToken("contoso.com", "app-id", file)) as desk:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            await desk.value()
            await clock.settle()
            await clock.advance(61)
            await clock.until(lambda: clock.sleepers == 1)
            assert file.read_text() == "first"
        await clock.advance(60)
        await clock.until(lambda: file.read_text().startswith("postroom:1:"))
        assert desk.asked == 1
