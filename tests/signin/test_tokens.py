"""One source of tokens: asked once for all, renewed ahead, patient with troubles."""

import asyncio
from pathlib import Path

import pytest

from app.mail.credential import TokenSource
from app.mail.transaction import ConnectTrouble
from app.signin.endpoint import Limits
from app.signin.expiry import Expiry
from app.signin.methods import ClientCertificate
from app.signin.tokens import TokenRefused, backoff
from tests.support.certificates import NOT_AFTER, Pair
from tests.support.manual_clock import ManualClock
from tests.support.token_desk import desk_of, is_immediate
from tests.support.token_server import Answer, TokenServer, refusal

AWAY = Answer(503)
DAY = 86_400


async def test_it_is_a_token_source(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        source: TokenSource = desk.tokens
        token = await source.token()
        assert (token.value.get_secret_value(), token.life) == (server.tokens[0], 3600)
        assert token.ends_at == clock.boot() + 3600
        assert desk.counted == ["issued"]


async def test_nothing_is_asked_before_somebody_needs_a_token(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        await desk.pass_(DAY)
        assert desk.asked == 0


async def test_fifty_sessions_at_once_make_one_request(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        values = await asyncio.gather(*(desk.value() for _ in range(50)))
        assert set(values) == {server.tokens[0]}
        assert desk.asked == 1


async def test_fifty_sessions_at_once_share_one_failure_too(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(AWAY)
    async with desk_of(server, clock) as desk:
        ends = await asyncio.gather(*(desk.value() for _ in range(50)), return_exceptions=True)
        assert {type(end) for end in ends} == {ConnectTrouble}
        assert desk.asked == 1


async def test_a_living_token_is_handed_out_at_once(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        token = await desk.tokens.token()
        await desk.pass_(2999)
        assert is_immediate(desk.tokens.token()) is token
        assert desk.asked == 1


@pytest.mark.parametrize(("life", "renewed_after"), [(3600, 3000), (5400, 4800), (1000, 800), (60, 48), (5, 4)])
async def test_a_token_is_renewed_ten_minutes_or_a_fifth_of_its_life_before_its_end(
    server: TokenServer, clock: ManualClock, life: float, renewed_after: float
) -> None:
    server.life = life
    async with desk_of(server, clock) as desk:
        await desk.value()
        await desk.pass_(renewed_after - 0.5)
        assert desk.asked == 1
        await desk.pass_(1)
        assert desk.asked == 2
        assert await desk.value() == server.tokens[1]


async def test_a_day_of_one_hour_tokens_makes_at_most_36_requests(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        await desk.value()
        for _ in range(DAY // 600):
            await desk.pass_(600)
            token = is_immediate(desk.tokens.token())
            assert token.ends_at - clock.boot() >= token.margin
        assert 24 <= desk.asked <= 36
        assert set(desk.counted) == {"issued"}


async def test_half_an_hour_without_the_endpoint_delays_nobody_while_the_token_lives(
    server: TokenServer, clock: ManualClock
) -> None:
    async with desk_of(server, clock) as desk:
        old = await desk.value()
        await desk.pass_(1700)
        server.always = AWAY
        for _ in range(60):
            await desk.pass_(30)
            assert is_immediate(desk.tokens.token()).value.get_secret_value() == old
        tried = desk.asked - 1
        assert 7 <= tried <= 16, "it goes on trying, with longer and longer pauses"
        server.always = None
        await desk.pass_(60)
        assert await desk.value() == server.tokens[1] != old


async def test_a_silent_endpoint_delays_nobody_while_the_token_lives(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        token = await desk.tokens.token()
        server.script.append(Answer(hold=True, document={"access_token": "late", "expires_in": 3600}))
        await clock.advance(3001)
        await clock.until(lambda: desk.asked == 2)
        assert is_immediate(desk.tokens.token()) is token
        server.release()
        await clock.until(desk.settled)
        assert await desk.value() == "late"


async def test_a_life_is_counted_from_the_request_and_no_jump_of_the_wall_clock_matters(
    server: TokenServer, clock: ManualClock
) -> None:
    async with desk_of(server, clock) as desk:
        server.script.append(Answer(hold=True, document={"access_token": "slow", "expires_in": 3600}))
        asking = asyncio.create_task(desk.tokens.token())
        await clock.until(lambda: desk.asked == 1)
        asked_at = clock.boot()
        await clock.advance(12)
        clock.jump_wall(-5 * DAY)
        server.release()
        token = await asking
        assert token.ends_at == asked_at + 3600
        clock.jump_wall(10 * DAY)
        assert await desk.tokens.token() is token


@pytest.mark.parametrize(
    ("failures", "retry_after", "wait"),
    [
        (1, None, 1),
        (2, None, 2),
        (3, None, 4),
        (6, None, 32),
        (7, None, 60),
        (5000, None, 60),
        (1, 17, 17),
        (9, 5, 5),
        (1, 0, 1),
        (1, 10**9, 3600),
    ],
)
def test_the_next_request_waits_longer_and_longer_or_as_asked(
    failures: int, retry_after: float | None, wait: float
) -> None:
    assert backoff(failures, retry_after) == wait


async def test_without_a_token_the_loop_asks_again_after_1_2_4_and_so_on_seconds(
    server: TokenServer, clock: ManualClock
) -> None:
    server.always = AWAY
    async with desk_of(server, clock) as desk:
        with pytest.raises(ConnectTrouble):
            await desk.value()
        began, times, seen = clock.boot(), [], 1
        while clock.boot() - began < 250:
            await desk.pass_(1)
            if desk.asked != seen:
                seen = desk.asked
                times.append(clock.boot() - began)
        assert times == [1, 3, 7, 15, 31, 63, 123, 183, 243]
        server.always = None
        await desk.pass_(60)
        assert await desk.value() == server.tokens[0], "the loop brought it, nobody had to ask"
        assert desk.asked == seen + 1
        assert desk.tokens.trouble is None


async def test_without_a_token_a_caller_learns_at_once_when_the_next_request_may_be_made(
    server: TokenServer, clock: ManualClock
) -> None:
    server.script.append(Answer(429, headers={"Retry-After": "40"}))
    async with desk_of(server, clock) as desk:
        with pytest.raises(ConnectTrouble) as first:
            await desk.value()
        await desk.pass_(10)
        with pytest.raises(ConnectTrouble) as second:
            desk.tokens.token().send(None)
        for trouble, wait in ((first.value, 40), (second.value, 30)):
            assert (trouble.reason, trouble.retry_after) == ("token", wait)
            assert "429" in trouble.text
        assert desk.asked == 1
        assert desk.counted == ["throttled"]
        await desk.pass_(30)
        assert await desk.value() == server.tokens[0]
        assert desk.asked == 2


async def test_a_caller_without_a_token_waits_for_one_request_and_no_longer(
    server: TokenServer, clock: ManualClock
) -> None:
    server.script.append(Answer(hold=True))
    async with desk_of(server, clock, limits=Limits(connect=0.1, total=0.1)) as desk:
        with pytest.raises(ConnectTrouble, match=r"within 0\.1 s") as caught:
            await desk.value()
        assert caught.value.retry_after == 1
        assert desk.counted == ["timeout"]


async def test_a_fresh_token_is_fetched_once_for_all_who_ask(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        await desk.value()
        values = await asyncio.gather(*(desk.value(fresh=True) for _ in range(50)))
        assert set(values) == {server.tokens[1]}
        assert desk.asked == 2
        assert await desk.value() == server.tokens[1]


async def test_a_fresh_token_serves_all_who_ask_within_half_a_minute(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        await desk.value()
        for _ in range(3):
            assert await desk.value(fresh=True) == server.tokens[1]
            await desk.pass_(9)
        await desk.pass_(9)
        assert await desk.value(fresh=True) == server.tokens[2]
        assert desk.asked == 3


async def test_a_fresh_token_that_cannot_be_had_is_told_and_the_old_one_serves_others(
    server: TokenServer, clock: ManualClock
) -> None:
    async with desk_of(server, clock) as desk:
        old = await desk.value()
        server.script.append(AWAY)
        with pytest.raises(ConnectTrouble):
            await desk.value(fresh=True)
        with pytest.raises(ConnectTrouble):
            await desk.value(fresh=True)
        assert desk.asked == 2
        assert await desk.value() == old


async def test_who_asks_for_a_fresh_token_joins_a_renewal_under_way(server: TokenServer, clock: ManualClock) -> None:
    async with desk_of(server, clock) as desk:
        await desk.value()
        server.script.append(Answer(hold=True, document={"access_token": "renewed", "expires_in": 3600}))
        await clock.advance(3001)
        await clock.until(lambda: desk.asked == 2)
        asking = asyncio.create_task(desk.value(fresh=True))
        await clock.settle()
        server.release()
        assert await asking == "renewed"
        assert await desk.value(fresh=True) == "renewed"
        assert desk.asked == 2


async def test_a_caller_who_gives_up_takes_the_request_from_nobody(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(Answer(hold=True, document={"access_token": "late", "expires_in": 3600}))
    async with desk_of(server, clock) as desk:
        callers = [asyncio.create_task(desk.value()) for _ in range(3)]
        await clock.until(lambda: desk.asked == 1)
        callers[0].cancel()
        await clock.settle()
        server.release()
        assert await asyncio.gather(*callers[1:]) == ["late", "late"]
        assert callers[0].cancelled()


async def test_a_request_goes_on_although_every_caller_gave_up(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(Answer(hold=True, document={"access_token": "late", "expires_in": 3600}))
    async with desk_of(server, clock) as desk:
        caller = asyncio.create_task(desk.value())
        await clock.until(lambda: desk.asked == 1)
        caller.cancel()
        await clock.settle()
        server.release()
        await clock.until(desk.settled)
        assert is_immediate(desk.tokens.token()).value.get_secret_value() == "late"


async def test_the_end_of_a_certificate_is_known_before_anybody_asks(
    server: TokenServer, clock: ManualClock, pair: Pair, tmp_path: Path
) -> None:
    method = ClientCertificate("contoso.com", "app-id", pair.write_pem(tmp_path / "app.pem"))
    async with desk_of(server, clock, method) as desk:
        assert desk.tokens.expiries == (Expiry("certificate", NOT_AFTER),)
        assert desk.asked == 0


async def test_its_repr_shows_its_state(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(refusal(7000222, text="Expired."))
    async with desk_of(server, clock) as desk:
        assert repr(desk.tokens) == "<Tokens contoso.com/app-id no token, well>"
        with pytest.raises(TokenRefused):
            await desk.value()
        assert repr(desk.tokens) == "<Tokens contoso.com/app-id no token, AADSTS7000222: Expired.>"
        desk.tokens.reset()
        await desk.value()
        assert repr(desk.tokens) == "<Tokens contoso.com/app-id lives 3600s, well>"
