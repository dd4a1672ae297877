"""A source of tokens at work for tests: real issuer, loopback endpoint, a clock that stands still, and its loop."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from app.mail.credential import AccessToken
from app.signin.endpoint import LIMITS, Limits
from app.signin.methods import ClientSecret, Endpoint, Method, SignIn
from app.signin.tokens import Tokens, build_tokens
from tests.support.manual_clock import ManualClock
from tests.support.token_server import TokenServer

SECRET = ClientSecret("contoso.com", "app-id", SecretStr("the-client-secret"))


class Desk:
    """A source of tokens whose loop runs, and what it counted."""

    def __init__(self, server: TokenServer, clock: ManualClock, method: Method, limits: Limits) -> None:
        self.counted: list[str] = []
        self.server = server
        self.clock = clock
        sign_in = SignIn(method, Endpoint(server.url, "the-scope"))
        self.tokens: Tokens = build_tokens(sign_in, clock, self.counted.append, limits=limits)

    def settled(self) -> bool:
        return not self.tokens.is_asking

    async def pass_(self, seconds: float) -> None:
        await self.clock.advance(seconds, settled=self.settled)

    async def value(self, *, fresh: bool = False) -> str:
        return (await self.tokens.token(fresh=fresh)).value.get_secret_value()

    @property
    def asked(self) -> int:
        return len(self.server.requests)


@asynccontextmanager
async def desk_of(
    server: TokenServer, clock: ManualClock, method: Method = SECRET, limits: Limits = LIMITS
) -> AsyncIterator[Desk]:
    desk = Desk(server, clock, method, limits)
    loop = asyncio.create_task(desk.tokens.run(), name=desk.tokens.name)
    await clock.until(lambda: desk.tokens.mark != b"")
    try:
        yield desk
    finally:
        server.release()
        await desk.tokens.close()
        await asyncio.wait_for(loop, 5)


def is_immediate(call: Coroutine[Any, Any, AccessToken]) -> AccessToken:
    """Run a call that must not wait for anything."""
    with pytest.raises(StopIteration) as done:
        call.send(None)
    token = done.value.value
    assert isinstance(token, AccessToken)
    return token
