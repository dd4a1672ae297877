"""A managed identity serves behind the same interface, by a library that is only there when wanted."""

import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.mail.transaction import ConnectTrouble
from app.signin.answer import Answer, Busy, Issued, Refusal
from app.signin.clouds import CLOUDS
from app.signin.endpoint import Limits
from app.signin.managed import ManagedIssuer
from app.signin.methods import ManagedIdentity, SignIn, endpoint_of
from app.signin.tokens import TokenRefused, build_tokens
from tests.support import token_server
from tests.support.manual_clock import ManualClock
from tests.support.token_server import TokenServer

LIMITS = Limits(connect=1, total=2)


@pytest.fixture
async def azure(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TokenServer]:
    """The identity endpoint that App Service offers, on loopback."""
    async with TokenServer().listening() as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header-secret")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        yield server


def grant(clock: ManualClock, life: float = 3600) -> token_server.Answer:
    ends = clock.now() + timedelta(seconds=life)
    return token_server.Answer(
        document={
            "access_token": "managed-token",
            "expires_on": str(int(ends.timestamp())),
            "resource": "https://outlook.office365.com",
            "token_type": "Bearer",
        }
    )


async def ask(clock: ManualClock, client_id: str | None = None) -> Answer:
    method = ManagedIdentity(client_id)
    return (await ManagedIssuer(method, endpoint_of(method), clock, limits=LIMITS).issue()).answer


@pytest.mark.parametrize("client_id", [None, "user-assigned"])
async def test_the_machines_identity_endpoint_gives_the_token(
    azure: TokenServer, clock: ManualClock, client_id: str | None
) -> None:
    azure.script.append(grant(clock))
    answer = await ask(clock, client_id)
    assert isinstance(answer, Issued)
    assert (answer.value.get_secret_value(), answer.life) == ("managed-token", 3600)
    (request,) = azure.requests
    assert request.method == "GET"
    assert "resource=https://outlook.office365.com" in request.path
    assert ("client_id=user-assigned" in request.path) == (client_id is not None)


@pytest.mark.parametrize(
    ("status", "result"), [(429, "throttled"), (500, "server-error"), (503, "server-error"), (404, "server-error")]
)
async def test_a_trouble_of_the_identity_endpoint_passes_and_is_not_retried_here(
    azure: TokenServer, clock: ManualClock, status: int, result: str
) -> None:
    azure.always = token_server.Answer(status, {"error": "x"})
    answer = await ask(clock)
    assert isinstance(answer, Busy), answer
    assert answer.result == result
    assert len(azure.requests) == 1


async def test_an_identity_that_is_not_there_is_refused(azure: TokenServer, clock: ManualClock) -> None:
    azure.always = token_server.Answer(400, {"error": "invalid_request", "error_description": "Identity not found"})
    answer = await ask(clock)
    assert isinstance(answer, Refusal), answer
    assert answer.code == "managed-identity"


async def test_an_answer_without_a_usable_token_is_a_trouble(azure: TokenServer, clock: ManualClock) -> None:
    for useless in (token_server.Answer(200, {"hello": "world"}), grant(clock, life=-60)):
        azure.script.append(useless)
        answer = await ask(clock)
        assert isinstance(answer, Busy), answer
        assert answer.result == "malformed"


async def test_a_machine_without_an_identity_endpoint_is_a_trouble(
    azure: TokenServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    answer = await ask(clock)
    assert isinstance(answer, Busy), answer
    assert answer.result == "unreachable"


async def test_a_silent_identity_endpoint_is_given_up(azure: TokenServer, clock: ManualClock) -> None:
    azure.script.append(token_server.Answer(hold=True))
    method = ManagedIdentity()
    issuer = ManagedIssuer(method, endpoint_of(method), clock, limits=Limits(connect=0.1, total=0.2))
    answer = (await issuer.issue()).answer
    assert isinstance(answer, Busy), answer
    assert answer.result == "timeout"


async def test_it_is_a_source_like_every_other(azure: TokenServer, clock: ManualClock) -> None:
    method = ManagedIdentity()
    tokens = build_tokens(SignIn(method, endpoint_of(method)), clock, lambda _: None, limits=LIMITS)
    azure.script.append(token_server.Answer(500, {}))
    with pytest.raises(ConnectTrouble):
        await tokens.token()
    await clock.advance(1)
    azure.script.append(grant(clock))
    assert (await tokens.token()).value.get_secret_value() == "managed-token"
    azure.always = token_server.Answer(400, {"error": "invalid_request"})
    with pytest.raises(TokenRefused):
        await tokens.token(fresh=True)
    assert tokens.expiries == ()
    await tokens.close()


@pytest.mark.parametrize("module", ["azure.identity.aio", "aiohttp"])
def test_a_missing_extra_says_what_to_install(clock: ManualClock, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    sign_in = SignIn(ManagedIdentity(), endpoint_of(ManagedIdentity()))
    with pytest.raises(ImportError, match=r"install postroom\[azure\]"):
        build_tokens(sign_in, clock, lambda _: None)


def test_every_cloud_can_be_asked() -> None:
    for name, cloud in CLOUDS.items():
        assert endpoint_of(ManagedIdentity(), name).scope == cloud.scope
