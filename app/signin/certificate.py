"""Reads a client certificate and signs the assertion that stands in for a secret (RFC 7523 §2.2).

``load_certificate`` takes PEM or PFX; ``assertion`` is pure, its time and its identifier are handed in. Faults name the
file and what is wrong with it, never its content or its password.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from pydantic import SecretStr

from app.signin.files import CredentialUnreadable, read_credential

# Begins before now and ends soon: ten minutes in all, so that a clock a little off is no fault.
_NOT_BEFORE = timedelta(minutes=2)
_LIFE = timedelta(minutes=8)

_SMALLEST_KEY = 2048
_KEY_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key that can sign, the SHA-256 thumbprint Entra knows it by, and the end of the certificate."""

    key: rsa.RSAPrivateKey = field(repr=False)
    thumbprint: bytes
    not_after: datetime


def load_certificate(path: Path, password: SecretStr | None) -> Certificate:
    """Read key and certificate from a PEM or PFX file; raises ``CredentialUnreadable``."""
    data = read_credential(path)
    secret = password.get_secret_value().encode() if password is not None else None
    key, certificates = _parse(path, data, secret)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CredentialUnreadable(path, "holds no RSA key; Entra takes only RSA here")
    if key.key_size < _SMALLEST_KEY:
        raise CredentialUnreadable(path, f"holds an RSA key of {key.key_size} bits; {_SMALLEST_KEY} is the least")
    numbers = key.public_key().public_numbers()
    for certificate in certificates:
        public = certificate.public_key()
        if isinstance(public, rsa.RSAPublicKey) and public.public_numbers() == numbers:
            return Certificate(key, certificate.fingerprint(hashes.SHA256()), certificate.not_valid_after_utc)
    raise CredentialUnreadable(path, "holds no certificate that belongs to its key")


def _parse(path: Path, data: bytes, secret: bytes | None) -> tuple[object, list[x509.Certificate]]:
    try:
        return _from_pem(data, secret) if b"-----BEGIN" in data else _from_pfx(data, secret)
    except LookupError as error:
        raise CredentialUnreadable(path, str(error.args[0])) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words may quote the content, so they are not repeated.
        what = "is not PEM or PFX, or its password is wrong or missing"
        raise CredentialUnreadable(path, what) from None


def _from_pem(data: bytes, secret: bytes | None) -> tuple[object, list[x509.Certificate]]:
    block = _KEY_BLOCK.search(data)
    if block is None:
        raise LookupError("holds no private key")
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise LookupError("holds no certificate; put key and certificate into one file")
    is_encrypted = b"ENCRYPTED" in block.group()
    return load_pem_private_key(block.group(), secret if is_encrypted else None), x509.load_pem_x509_certificates(data)


def _from_pfx(data: bytes, secret: bytes | None) -> tuple[object, list[x509.Certificate]]:
    key, certificate, others = pkcs12.load_key_and_certificates(data, secret)
    if key is None:
        raise LookupError("holds no private key")
    return key, [found for found in (certificate, *others) if found is not None]


def assertion(
    certificate: Certificate,
    algorithm: Literal["PS256", "RS256"],
    *,
    audience: str,
    client_id: str,
    now: datetime,
    identifier: str,
) -> str:
    """Return the signed assertion (RFC 7523 §3) for ``audience``, the address of the token endpoint."""
    header = {"alg": algorithm, "typ": "JWT", "x5t#S256": _base64url(certificate.thumbprint)}
    claims = {
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": identifier,
        "nbf": int((now - _NOT_BEFORE).timestamp()),
        "exp": int((now + _LIFE).timestamp()),
    }
    signed = f"{_segment(header)}.{_segment(claims)}"
    signature = certificate.key.sign(signed.encode(), _padding(algorithm), hashes.SHA256())
    return f"{signed}.{_base64url(signature)}"


def _padding(algorithm: Literal["PS256", "RS256"]) -> padding.PSS | padding.PKCS1v15:
    if algorithm == "RS256":
        return padding.PKCS1v15()
    # The salt is as long as the hash (RFC 7518 §3.5).
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


def _segment(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
