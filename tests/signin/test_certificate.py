"""Certificates are read in every usual form, and a second implementation accepts what is signed with them."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from app.signin.certificate import assertion, load_certificate
from app.signin.files import CredentialUnreadable
from tests.support.certificates import NOT_AFTER, Pair, make_pair

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
URL = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_pyjwt_verifies_the_assertion(pair: Pair, tmp_path: Path, algorithm: Literal["PS256", "RS256"]) -> None:
    certificate = load_certificate(pair.write_pem(tmp_path / "app.pem"), None)
    signed = assertion(certificate, algorithm, audience=URL, client_id="app-id", now=NOW, identifier="unique")

    header = jwt.get_unverified_header(signed)
    claims = jwt.decode(
        signed,
        pair.key.public_key(),
        algorithms=[algorithm],
        audience=URL,
        issuer="app-id",
        subject="app-id",
        options={"verify_exp": False, "verify_nbf": False, "require": ["aud", "iss", "sub", "jti", "nbf", "exp"]},
    )
    der = pair.certificate.public_bytes(Encoding.DER)
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    assert header == {"alg": algorithm, "typ": "JWT", "x5t#S256": thumbprint}
    assert claims["jti"] == "unique"
    assert (claims["nbf"], claims["exp"]) == (NOW.timestamp() - 120, NOW.timestamp() + 480)


@pytest.mark.parametrize("form", ["cert-key", "key-cert", "encrypted", "chain", "traditional", "pfx", "pfx-locked"])
def test_key_and_certificate_are_found_in_every_usual_form(
    pair: Pair, other_pair: Pair, tmp_path: Path, form: str
) -> None:
    password = b"correct horse"
    traditional = pair.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    data = {
        "cert-key": pair.certificate_pem() + pair.key_pem(),
        "key-cert": b"Bag Attributes\n  friendlyName: x\n" + pair.key_pem() + pair.certificate_pem(),
        "encrypted": pair.key_pem(password) + pair.certificate_pem(),
        "chain": other_pair.certificate_pem() + pair.certificate_pem() + pair.key_pem(),
        "traditional": traditional + pair.certificate_pem(),
        "pfx": pair.pfx(),
        "pfx-locked": pair.pfx(password),
    }[form]
    file = tmp_path / "app"
    file.write_bytes(data)
    certificate = load_certificate(file, None if form == "pfx" else SecretStr(password.decode()))
    assert certificate.thumbprint == hashlib.sha256(pair.certificate.public_bytes(Encoding.DER)).digest()
    assert certificate.not_after == NOT_AFTER


def test_what_cannot_serve_is_named_without_its_content(pair: Pair, other_pair: Pair, tmp_path: Path) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    elliptic_pem = elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    small = make_pair(1024)
    table: list[tuple[bytes | None, str | None, str]] = [
        (None, None, "cannot be read: No such file or directory"),
        (b"  \n", None, "is empty"),
        (b"x" * 70_000, None, "larger than 64 KiB"),
        (b"neither the one nor the other", None, "not PEM or PFX"),
        (pair.certificate_pem(), None, "no private key"),
        (pair.key_pem(), None, "no certificate"),
        (other_pair.certificate_pem() + pair.key_pem(), None, "belongs to its key"),
        (pair.key_pem(b"right") + pair.certificate_pem(), "wrong-password", "password is wrong or missing"),
        (pair.key_pem(b"right") + pair.certificate_pem(), None, "password is wrong or missing"),
        (pair.pfx(b"right"), "wrong-password", "password is wrong or missing"),
        (elliptic_pem + pair.certificate_pem(), None, "no RSA key"),
        (small.key_pem() + small.certificate_pem(), None, "1024 bits"),
    ]
    for number, (data, password, fault) in enumerate(table):
        file = tmp_path / f"{number}.pem"
        if data is not None:
            file.write_bytes(data)
        with pytest.raises(CredentialUnreadable, match=fault) as caught:
            load_certificate(file, SecretStr(password) if password else None)
        assert str(file) in str(caught.value)
        assert "wrong-password" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_the_key_does_not_show_in_a_repr(pair: Pair, tmp_path: Path) -> None:
    assert "key" not in repr(load_certificate(pair.write_pem(tmp_path / "app.pem"), None))
