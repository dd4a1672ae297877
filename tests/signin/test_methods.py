"""Clouds, endpoints and methods as values."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from app.signin.clouds import CLOUDS
from app.signin.methods import (
    ClientCertificate,
    ClientSecret,
    Endpoint,
    FederatedToken,
    ManagedIdentity,
    Method,
    RefreshToken,
    SignIn,
    endpoint_of,
)

SECRET = ClientSecret("contoso.com", "app", SecretStr("hush-hush"))
REFRESH = RefreshToken("contoso.com", "app", Path("token"))


@pytest.mark.parametrize(
    ("cloud", "method", "url", "scope"),
    [
        (
            "worldwide",
            SECRET,
            "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
            "https://outlook.office365.com/.default",
        ),
        (
            "worldwide",
            REFRESH,
            "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
            "https://outlook.office.com/SMTP.Send offline_access",
        ),
        (
            "gcc-high",
            SECRET,
            "https://login.microsoftonline.us/contoso.com/oauth2/v2.0/token",
            "https://outlook.office365.us/.default",
        ),
        (
            "dod",
            SECRET,
            "https://login.microsoftonline.us/contoso.com/oauth2/v2.0/token",
            "https://outlook.office365.us/.default",
        ),
        (
            "china",
            SECRET,
            "https://login.partner.microsoftonline.cn/contoso.com/oauth2/v2.0/token",
            "https://partner.outlook.cn/.default",
        ),
    ],
)
def test_a_cloud_gives_authority_and_scope(cloud: str, method: Method, url: str, scope: str) -> None:
    endpoint = endpoint_of(method, cloud)
    assert (endpoint.url("contoso.com"), endpoint.scope) == (url, scope)


def test_each_cloud_names_its_smtp_host() -> None:
    assert {name: cloud.smtp_host for name, cloud in CLOUDS.items()} == {
        "worldwide": "smtp.office365.com",
        "gcc-high": "smtp.office365.us",
        "dod": "outlook-dod.office365.us",
        "china": "smtp.partner.outlook.cn",
    }


def test_authority_and_scope_can_be_overridden() -> None:
    endpoint = endpoint_of(SECRET, authority="http://127.0.0.1:9999/", scope="s", ca_file=Path("ca"))
    assert endpoint.url("d") == "http://127.0.0.1:9999/d/oauth2/v2.0/token"
    assert (endpoint.scope, endpoint.ca_file) == ("s", Path("ca"))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.8.9.1", "localhost:8443", "[::1]:1"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert Endpoint(f"http://{host}", "s").url("d").startswith(f"http://{host}/d/")


@pytest.mark.parametrize(
    "authority",
    [
        "http://login.microsoftonline.com",
        "http://127.0.0.1.example.com",
        "http://localhost@example.com",
        "https://user@example.com",
        "https://example.com?x",
        "https://example.com#x",
        "ftp://example.com",
        "login.microsoftonline.com",
        "https://login.microsoftonline.com:99999",
        "https://login.microsoftonline.com:https",
        "",
    ],
)
def test_an_authority_that_would_leak_the_credential_is_refused(authority: str) -> None:
    with pytest.raises(ValueError, match="authority"):
        Endpoint(authority, "s")


@pytest.mark.parametrize("directory", ["", "a/b", "../x", "a b", "a?b", "-x", "x" * 300])
def test_a_directory_is_an_id_or_a_domain(directory: str) -> None:
    for make in (
        lambda: ClientSecret(directory, "c", SecretStr("s")),
        lambda: ClientCertificate(directory, "c", Path("f")),
        lambda: FederatedToken(directory, "c", Path("f")),
        lambda: RefreshToken(directory, "c", Path("f")),
    ):
        with pytest.raises(ValueError, match="directory"):
            make()


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="scope"):
        Endpoint("https://example.com", " ")


def test_equal_sign_ins_are_one_key() -> None:
    def make(secret: str) -> SignIn:
        return SignIn(ClientSecret("d", "c", SecretStr(secret)), Endpoint("https://example.com", "s"))

    assert len({make("one"), make("one"), make("two")}) == 2


def test_no_secret_shows_in_a_repr() -> None:
    methods: list[Method] = [
        SECRET,
        ClientCertificate("d", "c", Path("f"), SecretStr("hush-hush")),
        RefreshToken("d", "c", Path("f"), SecretStr("hush-hush")),
        ManagedIdentity(),
    ]
    assert "hush" not in repr(methods)
