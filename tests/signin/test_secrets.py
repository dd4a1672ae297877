"""No secret and no token appears in a log line, an error, a traceback or a repr, whatever happens."""

import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.kit.log import configure
from app.mail.transaction import ConnectTrouble
from app.signin.methods import ClientCertificate, ClientSecret, Endpoint, FederatedToken, Method, RefreshToken, SignIn
from app.signin.tokens import TokenRefused, build_tokens
from tests.support.certificates import Pair
from tests.support.manual_clock import ManualClock
from tests.support.token_server import Answer, TokenServer

SECRET = "Kx8~the-client-secret+/="
PASSWORD = "the-pfx-password"
PLAIN = "plain-refresh-token-0123456789"
FEDERATED = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged, by us and by every library, at the most talkative level."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure("debug", "full", stream)
    yield stream
    root.handlers[:], root.level = before
    configure()
    root.handlers[:] = before[0]


def methods(directory: Path, pair: Pair) -> list[Method]:
    (directory / "app.pfx").write_bytes(pair.pfx(PASSWORD.encode()))
    (directory / "refresh").write_text(PLAIN)
    (directory / "federated").write_text(FEDERATED)
    return [
        ClientSecret("contoso.com", "app-id", SecretStr(SECRET)),
        ClientCertificate("contoso.com", "app-id", directory / "app.pfx", SecretStr(PASSWORD)),
        FederatedToken("contoso.com", "app-id", directory / "federated"),
        RefreshToken("contoso.com", "app-id", directory / "refresh", SecretStr(SECRET)),
    ]


async def test_nothing_secret_is_written_anywhere(
    server: TokenServer, clock: ManualClock, pair: Pair, tmp_path: Path, written: io.StringIO
) -> None:
    texts: list[str] = []
    for method in methods(tmp_path, pair):
        sign_in = SignIn(method, Endpoint(server.url, "the-scope"))
        tokens = build_tokens(sign_in, clock, texts.append)
        texts += [repr(sign_in), repr(await tokens.token()), repr(tokens), str(vars(tokens))]
        # The endpoint repeats what it was sent, in every form it could.
        for answer in (
            Answer(401, echo=True),
            Answer(403, echo=True, headers={"Content-Type": "text/html"}),
            Answer(503, echo=True),
            Answer(200, echo=True),
            Answer(200, echo=True, cut=150),
        ):
            server.script.append(answer)
            with pytest.raises((TokenRefused, ConnectTrouble)) as caught:
                await tokens.token(fresh=True)
            texts += traceback.format_exception(caught.value)
            texts += [repr(caught.value), repr(tokens), repr(tokens.trouble), str(vars(tokens))]
            tokens.reset()
        await tokens.close()

    log = written.getvalue()
    assert "token issued" in log
    assert "token refused" in log
    assert "httpcore" in log or "send_request_headers" in log, "the libraries were heard"
    assertions = [request.form["client_assertion"] for request in server.requests if "client_assertion" in request.form]
    assert len(assertions) == 12
    everything = log + "".join(texts)
    for secret in (SECRET, PASSWORD, PLAIN, FEDERATED, *assertions, *server.secrets):
        assert secret not in everything
        assert secret[: len(secret) // 2] not in everything
