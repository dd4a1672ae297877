"""The token endpoint, and the sign-in with its tokens."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from app.emulator import (
    DEFAULT_ADDRESS,
    DEFAULT_CLIENT_ID,
    DEFAULT_CLIENT_SECRET,
    DEFAULT_REFRESH_TOKEN,
    Account,
    App,
    Emulator,
    TokenAction,
    TokenFault,
)
from tests.emulator.talk import Talk, b64

PATH = "/contoso.test/oauth2/v2.0/token"
SCOPE = "https://outlook.office365.com/.default"
BY_SECRET = {
    "grant_type": "client_credentials",
    "client_id": DEFAULT_CLIENT_ID,
    "client_secret": DEFAULT_CLIENT_SECRET,
    "scope": SCOPE,
}
BY_REFRESH = {
    "grant_type": "refresh_token",
    "client_id": DEFAULT_CLIENT_ID,
    "refresh_token": DEFAULT_REFRESH_TOKEN,
    "scope": "https://outlook.office.com/SMTP.Send offline_access",
}


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


async def ask(emu: Emulator, form: dict[str, str], path: str = PATH) -> httpx.Response:
    async with httpx.AsyncClient(base_url=emu.http_url, trust_env=False) as client:
        return await client.post(path, data=form)


async def sign_in(emu: Emulator, token: str, user: str = DEFAULT_ADDRESS, *, in_one_line: bool = True) -> str:
    string = b64(f"user={user}\x01auth=Bearer {token}\x01\x01")
    async with Talk(emu) as talk:
        await talk.start_tls()
        if in_one_line:
            return await talk.say(f"AUTH XOAUTH2 {string}")
        assert await talk.say("AUTH XOAUTH2") == "334 "
        return await talk.say(string)


@pytest.mark.parametrize("in_one_line", [True, False])
async def test_a_token_signs_in_while_it_lives(emu, in_one_line):
    answer = (await ask(emu, BY_SECRET)).json()
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3599
    token = answer["access_token"]
    assert await sign_in(emu, token, in_one_line=in_one_line) == "235 2.7.0 Authentication successful"
    # The emulator's clock runs on beside the moves: a minute is room for a slow machine.
    emu.clock.advance(3540)
    assert (await sign_in(emu, token)).startswith("235")
    emu.clock.advance(60)
    assert (await sign_in(emu, token)).startswith("535 5.7.3 Authentication unsuccessful [EM0P")


async def test_a_token_is_readable_as_a_jwt(emu):
    token = (await ask(emu, BY_SECRET)).json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == "https://outlook.office365.com"
    assert (claims["appid"], claims["roles"], claims["tid"]) == (DEFAULT_CLIENT_ID, ["SMTP.SendAsApp"], "contoso.test")


@pytest.mark.parametrize("spoil", ["{}x", "x", "a.{}"])
async def test_a_token_that_is_not_ours_is_refused(emu, spoil):
    token = (await ask(emu, BY_SECRET)).json()["access_token"]
    assert (await sign_in(emu, spoil.format(token))).startswith("535 5.7.3")


async def test_a_token_for_another_service_is_refused(emu):
    token = (await ask(emu, BY_SECRET | {"scope": "https://graph.microsoft.com/.default"})).json()["access_token"]
    assert (await sign_in(emu, token)).startswith("535 5.7.3")


async def test_revoked_tokens_are_refused(emu):
    token = (await ask(emu, BY_SECRET)).json()["access_token"]
    emu.tokens.revoke()
    assert (await sign_in(emu, token)).startswith("535 5.7.3")


async def test_a_token_admits_to_the_app_s_mailboxes_only():
    app = App(client_id="app", secrets=("s",), mailboxes=("*@sales.test",))
    async with Emulator([Account("*@sales.test"), Account("x@other.test")], apps=[app]) as emu:
        token = (await ask(emu, BY_SECRET | {"client_id": "app", "client_secret": "s"})).json()["access_token"]
        assert (await sign_in(emu, token, "ada@sales.test")).startswith("235")
        assert (await sign_in(emu, token, "x@other.test")).startswith("535 5.7.3")
        assert (await sign_in(emu, token, "nobody@nowhere.test")).startswith("535 5.7.3")


@pytest.mark.parametrize(
    ("changed", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        ({"client_id": "unknown"}, 400, "unauthorized_client", 700016),
        ({"client_id": None}, 400, "invalid_request", 900144),
        ({"scope": None}, 400, "invalid_request", 900144),
        ({"scope": "offline_access"}, 400, "invalid_scope", 70011),
        ({"scope": "nonsense"}, 400, "invalid_scope", 70011),
        ({"scope": "https://outlook.office.com/SMTP.Send"}, 400, "invalid_scope", 1002012),
        ({"scope": f"{SCOPE} https://graph.microsoft.com/.default"}, 400, "invalid_scope", 700022),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": None}, 400, "invalid_request", 900144),
    ],
)
async def test_a_bad_request_gets_entra_s_error(emu, changed, status, error, code):
    form = {name: value for name, value in (BY_SECRET | changed).items() if value is not None}
    answer = await ask(emu, form)
    document = answer.json()
    assert (answer.status_code, document["error"], document["error_codes"]) == (status, error, [code])
    assert document["error_description"].startswith(f"AADSTS{code}: ")
    assert {"timestamp", "trace_id", "correlation_id", "error_uri"} < document.keys()
    assert emu.counters.token_results == {f"AADSTS{code}": 1}


async def test_an_app_is_known_in_its_directory_only():
    async with Emulator(apps=[App(client_id="app", directory="Fabrikam.test", secrets=("s",))]) as emu:
        form = BY_SECRET | {"client_id": "app", "client_secret": "s"}
        assert (await ask(emu, form)).json()["error_codes"] == [700016]
        assert (await ask(emu, form, "/fabrikam.test/oauth2/v2.0/token")).status_code == 200


async def test_a_refresh_token_is_replaced_at_each_use(emu):
    first = (await ask(emu, BY_REFRESH)).json()
    assert (await sign_in(emu, first["access_token"])).startswith("235")
    assert first["refresh_token"] != DEFAULT_REFRESH_TOKEN
    second = await ask(emu, BY_REFRESH | {"refresh_token": first["refresh_token"]})
    assert second.status_code == 200
    assert (await ask(emu, BY_REFRESH)).status_code == 200
    assert (await ask(emu, BY_REFRESH | {"refresh_token": "unknown"})).json()["error_codes"] == [70000]


async def test_a_refresh_token_may_be_good_for_one_use_only():
    app = App(client_id="app", refresh_tokens=("first",), single_use=True)
    async with Emulator(apps=[app]) as emu:
        form = BY_REFRESH | {"client_id": "app", "refresh_token": "first"}
        assert (await ask(emu, form)).status_code == 200
        assert (await ask(emu, form)).json()["error"] == "invalid_grant"


async def test_a_federated_token_is_accepted_to_the_letter():
    async with Emulator(apps=[App(client_id="app", federated_tokens=("from-the-cluster",))]) as emu:
        form = assertion_form("from-the-cluster")
        assert (await ask(emu, form)).status_code == 200
        assert (await ask(emu, assertion_form("another"))).json()["error_codes"] == [50027]


# --- certificates ---

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "postroom")])
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    ).sign(key, hashes.SHA256())


CERTIFICATE = self_signed(KEY)
THUMBPRINT = base64.urlsafe_b64encode(CERTIFICATE.fingerprint(hashes.SHA256())).rstrip(b"=").decode()


def assertion_form(assertion: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": "app",
        "scope": SCOPE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }


@pytest.mark.parametrize(
    ("algorithm", "head", "claims", "key", "code"),
    [
        ("RS256", {}, {}, KEY, None),
        ("PS256", {}, {}, KEY, None),
        ("RS256", {"x5t#S256": "other"}, {}, KEY, 700027),
        ("RS256", {}, {}, rsa.generate_private_key(public_exponent=65537, key_size=2048), 700027),
        ("RS384", {}, {}, KEY, 50027),
        ("RS256", {}, {"iss": "other"}, KEY, 700021),
        ("RS256", {}, {"sub": "other"}, KEY, 700021),
        ("RS256", {}, {"aud": "https://login.microsoftonline.com/x"}, KEY, 700023),
        ("RS256", {}, {"exp": 1}, KEY, 700024),
        ("RS256", {}, {"nbf": 99_999_999_999}, KEY, 700024),
        ("RS256", {}, {"exp": "never"}, KEY, 50027),
    ],
)
async def test_an_assertion_is_checked_as_entra_checks_it(algorithm, head, claims, key, code):
    pem = CERTIFICATE.public_bytes(Encoding.PEM).decode()
    async with Emulator(apps=[App(client_id="app", certificates=(pem,))]) as emu:
        now = int(emu.clock.now().timestamp())
        good = {"iss": "app", "sub": "app", "aud": emu.http_url + PATH, "nbf": now, "exp": now + 300, "jti": "1"}
        # jwt checks claims it knows; signing by segments lets wrong ones through.
        assertion = jwt.api_jws.encode(
            json.dumps(good | claims).encode(), key, algorithm, headers={"x5t#S256": THUMBPRINT} | head
        )
        answer = await ask(emu, assertion_form(assertion))
        assert answer.json().get("error_codes") == (None if code is None else [code])


@pytest.mark.parametrize("assertion", ["", "x", "a.b.c", "W10.W10.AA", "e30.e30.%%"])
async def test_nonsense_in_place_of_an_assertion_is_refused(assertion):
    pem = CERTIFICATE.public_bytes(Encoding.PEM).decode()
    async with Emulator(apps=[App(client_id="app", certificates=(pem,))]) as emu:
        assert (await ask(emu, assertion_form(assertion))).status_code in (400, 401)


# --- faults ---


async def test_every_code_of_entra_can_be_ordered(emu):
    for code in (7000222, 53003, 123456):
        emu.order(TokenFault(aadsts=code, times=1))
    assert [(await ask(emu, BY_SECRET)).json()["error_codes"] for _ in range(3)] == [[7000222], [53003], [123456]]
    assert (await ask(emu, BY_SECRET)).status_code == 200
    assert emu.counters.token_requests == 4


@pytest.mark.parametrize(("status", "retry_after"), [(429, 7), (503, None), (500, 0)])
async def test_an_endpoint_in_trouble_is_played(emu, status, retry_after):
    emu.order(TokenFault(status=status, retry_after=retry_after, client_id=DEFAULT_CLIENT_ID))
    answer = await ask(emu, BY_SECRET)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == (None if retry_after is None else str(retry_after))


async def test_a_short_life_can_be_ordered(emu):
    emu.order(TokenFault(life=30, directory="contoso.test", attempt=2))
    assert [(await ask(emu, BY_SECRET)).json()["expires_in"] for _ in range(3)] == [3599, 30, 3599]


async def test_a_stall_ends_with_its_time_or_with_the_client(emu):
    emu.order(TokenFault(action=TokenAction.STALL, seconds=60))
    slow = asyncio.create_task(ask(emu, BY_SECRET))
    while not emu.counters.faults:
        await asyncio.sleep(0.01)
    assert not slow.done()
    emu.clock.advance(60)
    assert (await slow).status_code == 200
    async with httpx.AsyncClient(trust_env=False, timeout=0.1) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(emu.http_url + PATH, data=BY_SECRET)


@pytest.mark.parametrize("action", [TokenAction.CLOSE, TokenAction.HALF_ANSWER])
async def test_an_answer_is_broken_off(emu, action):
    emu.order(TokenFault(action=action))
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(emu, BY_SECRET)


async def test_a_proxy_s_page_is_shown(emu):
    emu.order(TokenFault(action=TokenAction.PROXY_PAGE))
    answer = await ask(emu, BY_SECRET)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_the_endpoint_is_also_there_over_tls(emu):
    context = ssl.create_default_context(cadata=emu.ca_pem.decode())
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        assert (await client.post(emu.https_url + PATH, data=BY_SECRET)).status_code == 200


async def test_no_secret_shows_in_a_repr(emu):
    app = App(client_id="app", secrets=("hidden-1",), federated_tokens=("hidden-2",), refresh_tokens=("hidden-3",))
    assert "hidden" not in repr(app) + repr(Account("a@b.test", "hidden"))
