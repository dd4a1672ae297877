"""Each method shows its credential as the standard says, and every failure of an endpoint has its own word."""

import os
import socket
import ssl
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
import trustme
from pydantic import SecretStr

from app.signin.answer import Busy, Issued, Refusal
from app.signin.endpoint import LIMITS, Limits
from app.signin.expiry import Expiry
from app.signin.issuer import Attempt, EndpointIssuer
from app.signin.methods import ClientCertificate, ClientSecret, Endpoint, FederatedToken, RefreshToken
from app.signin.proof import Shown
from tests.support.certificates import NOT_AFTER, Pair
from tests.support.manual_clock import NOON, ManualClock
from tests.support.token_server import Answer, TokenServer, refusal

SECRET = SecretStr("the-client-secret")
QUICK = Limits(connect=0.1, total=0.25)


def issuer_of(
    method: Shown, url: str, clock: ManualClock, limits: Limits = LIMITS, ca_file: Path | None = None
) -> EndpointIssuer:
    return EndpointIssuer(method, Endpoint(url, "the-scope", ca_file), clock, limits=limits, identifier=lambda: "jti-1")


def secret_issuer(server: TokenServer, clock: ManualClock, limits: Limits = LIMITS) -> EndpointIssuer:
    return issuer_of(ClientSecret("contoso.com", "app-id", SECRET), server.url, clock, limits)


def issued(attempt: Attempt) -> str:
    assert isinstance(attempt.answer, Issued), attempt.answer
    return attempt.answer.value.get_secret_value()


def busy(attempt: Attempt) -> Busy:
    assert isinstance(attempt.answer, Busy), attempt.answer
    return attempt.answer


def refused(attempt: Attempt) -> Refusal:
    assert isinstance(attempt.answer, Refusal), attempt.answer
    return attempt.answer


async def test_a_client_secret_is_posted_as_a_form(server: TokenServer, clock: ManualClock) -> None:
    ends = datetime(2027, 1, 1, tzinfo=UTC)
    method = ClientSecret("contoso.com", "app-id", SECRET, ends)
    attempt = await issuer_of(method, server.url, clock).issue()
    assert issued(attempt) == server.tokens[0]
    assert attempt.facts is not None
    assert attempt.facts.expiries == (Expiry("secret", ends),)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/contoso.com/oauth2/v2.0/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept-encoding"] == "identity"
    assert request.form == {
        "grant_type": "client_credentials",
        "client_id": "app-id",
        "client_secret": "the-client-secret",
        "scope": "the-scope",
    }


async def test_a_certificate_signs_an_assertion_and_is_read_anew_each_time(
    server: TokenServer, clock: ManualClock, pair: Pair, other_pair: Pair, tmp_path: Path
) -> None:
    file = pair.write_pem(tmp_path / "app.pem")
    issuer = issuer_of(ClientCertificate("contoso.com", "app-id", file), server.url, clock)
    attempt = await issuer.issue()
    other_pair.write_pem(file)
    await issuer.issue()
    assert attempt.facts is not None
    assert attempt.facts.expiries == (Expiry("certificate", NOT_AFTER),)
    for request, expected in zip(server.requests, (pair, other_pair), strict=True):
        assert "client_secret" not in request.form
        assert request.form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        claims = jwt.decode(
            request.form["client_assertion"],
            expected.key.public_key(),
            algorithms=["PS256"],
            audience=f"{server.url}/contoso.com/oauth2/v2.0/token",
            options={"verify_exp": False, "verify_nbf": False},
        )
        assert claims["jti"] == "jti-1"
        assert claims["nbf"] < NOON.timestamp() < claims["exp"]


async def test_a_federated_token_is_read_anew_each_time(
    server: TokenServer, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "projected"
    issuer = issuer_of(FederatedToken("contoso.com", "app-id", file), server.url, clock)
    for token in ("header.claims.one", "header.claims.two"):
        file.write_text(token + "\n")
        issued(await issuer.issue())
    assert [request.form["client_assertion"] for request in server.requests] == [
        "header.claims.one",
        "header.claims.two",
    ]


async def test_a_refresh_token_is_rotated_and_the_chain_goes_on_in_another_process(
    server: TokenServer, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "refresh"
    file.write_text("first")
    method = RefreshToken("contoso.com", "app-id", file)
    for issuer in (issuer_of(method, server.url, clock), issuer_of(method, server.url, clock)):
        await clock.advance(60)
        attempt = await issuer.issue()
        assert not issuer.is_behind
    assert [request.form["refresh_token"] for request in server.requests] == ["first", server.refresh_tokens[0]]
    assert server.requests[0].form == {
        "grant_type": "refresh_token",
        "client_id": "app-id",
        "refresh_token": "first",
        "scope": "the-scope",
    }
    facts = await issuer.inspect()
    assert facts.expiries[0].kind == "refresh-token"
    assert facts.expiries[0].days_left(clock.now()) == 90
    assert attempt.facts is not None
    assert attempt.facts.mark == facts.mark, "a rotation is no change of the credential"


async def test_a_confidential_app_sends_its_secret_with_the_refresh_token(
    server: TokenServer, clock: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "refresh").write_text("first")
    method = RefreshToken("contoso.com", "app-id", tmp_path / "refresh", client_secret=SECRET)
    await issuer_of(method, server.url, clock).issue()
    assert server.requests[0].form["client_secret"] == "the-client-secret"


async def test_a_refresh_token_that_is_not_rotated_does_not_stay_plain_and_its_rest_begins_anew(
    clock: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "refresh").write_text("first")
    async with TokenServer(rotates=False).listening() as server:
        issuer = issuer_of(RefreshToken("contoso.com", "app-id", tmp_path / "refresh"), server.url, clock)
        for _ in range(2):
            await clock.advance(86_400)
            issued(await issuer.issue())
        assert [request.form["refresh_token"] for request in server.requests] == ["first", "first"]
        assert (await issuer.inspect()).expiries[0].days_left(clock.now()) == 90
    assert (tmp_path / "refresh").read_text().startswith("postroom:1:")


async def test_a_rotated_token_that_cannot_be_stored_does_not_spoil_the_access_token(
    server: TokenServer, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refresh").write_text("first")
    issuer = issuer_of(RefreshToken("contoso.com", "app-id", tmp_path / "refresh"), server.url, clock)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        issued(await issuer.issue())
    assert issuer.is_behind
    issued(await issuer.issue())
    assert server.requests[1].form["refresh_token"] == server.refresh_tokens[0], "the newest serves from memory"
    assert not issuer.is_behind


@pytest.mark.parametrize("kind", ["certificate", "federated", "refresh"])
async def test_an_unreadable_credential_never_reaches_the_endpoint(
    server: TokenServer, clock: ManualClock, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "credential"
    methods: dict[str, Shown] = {
        "certificate": ClientCertificate("contoso.com", "app-id", file),
        "federated": FederatedToken("contoso.com", "app-id", file),
        "refresh": RefreshToken("contoso.com", "app-id", file),
    }
    issuer = issuer_of(methods[kind], server.url, clock)
    missing = await issuer.issue()
    file.write_text("not what it\nshould be")
    wrong = await issuer.issue()
    for attempt in (missing, wrong):
        assert refused(attempt).code == "credential-unreadable"
        assert str(file) in refused(attempt).text
    assert not server.requests
    assert missing.facts is not None
    assert wrong.facts is not None
    assert missing.facts.mark != wrong.facts.mark
    assert (await issuer.inspect()).mark == wrong.facts.mark


async def test_the_mark_changes_with_the_credential(clock: ManualClock) -> None:
    async def mark(method: Shown) -> bytes:
        return (await issuer_of(method, "https://login.example", clock).inspect()).mark

    marks = {
        await mark(ClientSecret("contoso.com", "app-id", SECRET)),
        await mark(ClientSecret("contoso.com", "app-id", SecretStr("another"))),
        await mark(ClientSecret("contoso.com", "other-id", SECRET)),
        await mark(ClientSecret("other.com", "app-id", SECRET)),
    }
    assert len(marks) == 4
    assert await mark(ClientSecret("contoso.com", "app-id", SECRET)) in marks


async def test_a_refusal_comes_through_with_its_codes(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(refusal(7000222, text="The provided client secret keys are expired."))
    answer = refused(await secret_issuer(server, clock).issue())
    assert (answer.code, answer.error, answer.error_codes) == ("AADSTS7000222", "invalid_client", (7000222,))
    assert answer.text == "AADSTS7000222: The provided client secret keys are expired."
    assert answer.trace_id
    assert answer.correlation_id


@pytest.mark.parametrize(
    ("answer", "result", "words"),
    [
        (Answer(429, {}, headers={"Retry-After": "9"}), "throttled", "429"),
        (Answer(503, body=b"<html>busy</html>"), "server-error", "503"),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/"}), "malformed", "redirect"),
        (Answer(200, body=b"<html>captive portal</html>"), "malformed", "proxy"),
        (Answer(200, body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "malformed", "encoding"),
        (Answer(200, body=b" " * 70_000), "malformed", "65536 octets"),
        (Answer(200, {"access_token": "x" * 1000, "expires_in": 1}, cut=300), "malformed", "broke off"),
        (Answer(raw=b""), "malformed", "broke off"),
        (Answer(raw=b"220 mail.example ESMTP\r\n"), "malformed", "did not speak HTTP"),
    ],
)
async def test_a_trouble_of_the_endpoint_has_its_word(
    server: TokenServer, clock: ManualClock, answer: Answer, result: str, words: str
) -> None:
    server.script.append(answer)
    trouble = busy(await secret_issuer(server, clock).issue())
    assert trouble.result == result
    assert words in trouble.text
    assert trouble.retry_after == (9 if result == "throttled" else None)
    assert len(server.requests) == 1, "nothing is asked twice, no redirect is followed"


async def test_an_endless_answer_is_not_read_to_its_end(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=True))
    assert busy(await secret_issuer(server, clock).issue()).result == "malformed"


async def test_a_silent_endpoint_is_given_up(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(Answer(hold=True))
    trouble = busy(await secret_issuer(server, clock, QUICK).issue())
    assert trouble == Busy("timeout", "the token endpoint did not answer within 0.25 s")


async def test_an_endpoint_that_drips_is_given_up_in_the_same_time(server: TokenServer, clock: ManualClock) -> None:
    server.script.append(Answer(document={"access_token": "x" * 1000, "expires_in": 3600}, pace=0.01))
    assert busy(await secret_issuer(server, clock, QUICK).issue()).result == "timeout"


async def test_a_closed_port_is_unreachable(clock: ManualClock) -> None:
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can take it
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        issuer = issuer_of(ClientSecret("contoso.com", "app-id", SECRET), url, clock)
        assert busy(await issuer.issue()).result == "unreachable"


async def test_proxies_of_the_environment_are_not_used(
    server: TokenServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    issued(await secret_issuer(server, clock).issue())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


def tls_for(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_private_authority_is_trusted_by_its_file(
    clock: ManualClock, authority: trustme.CA, ca_file: Path
) -> None:
    async with TokenServer().listening(tls_for(authority, "localhost")) as server:
        issuer = issuer_of(ClientSecret("contoso.com", "app-id", SECRET), server.url, clock, ca_file=ca_file)
        assert issued(await issuer.issue()) == server.tokens[0]


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name"])
async def test_a_certificate_that_does_not_verify_gets_no_credential(
    clock: ManualClock, authority: trustme.CA, ca_file: Path, fault: str
) -> None:
    name = "localhost" if fault == "unknown authority" else "elsewhere.example"
    async with TokenServer().listening(tls_for(authority, name)) as server:
        method = ClientSecret("contoso.com", "app-id", SECRET)
        trusted = None if fault == "unknown authority" else ca_file
        trouble = busy(await issuer_of(method, server.url, clock, ca_file=trusted).issue())
        assert trouble.result == "tls"
        assert "not valid" in trouble.text
        assert not server.requests


async def test_an_endpoint_that_never_finishes_the_handshake_is_given_up(
    server: TokenServer, clock: ManualClock
) -> None:
    url = server.url.replace("http://127.0.0.1", "https://localhost")
    issuer = issuer_of(ClientSecret("contoso.com", "app-id", SECRET), url, clock, QUICK)
    assert busy(await issuer.issue()).result == "timeout"
    assert not server.requests


async def test_a_handshake_that_fails_otherwise_is_a_tls_trouble(
    clock: ManualClock, authority: trustme.CA, ca_file: Path
) -> None:
    context = tls_for(authority, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED  # asks for a client certificate, which nobody has
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where that ends the handshake itself
    async with TokenServer().listening(context) as server:
        issuer = issuer_of(ClientSecret("contoso.com", "app-id", SECRET), server.url, clock, ca_file=ca_file)
        assert busy(await issuer.issue()).result == "tls"
        assert not server.requests


@pytest.mark.parametrize("content", [None, "no certificates"])
async def test_a_useless_ca_file_is_told_and_remembered_as_such(
    clock: ManualClock, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    issuer = issuer_of(ClientSecret("contoso.com", "app-id", SECRET), "https://localhost:1", clock, ca_file=file)
    attempt = await issuer.issue()
    assert refused(attempt).code == "credential-unreadable"
    assert attempt.facts == await issuer.inspect()
