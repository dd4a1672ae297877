"""Checks a client assertion as Entra does (RFC 7523 §3): shape, thumbprint, signature, names, times. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.emulator.entra import EntraRefusal

_SKEW = 300.0  # Entra forgives five minutes


def load_certificate(pem: str) -> x509.Certificate:
    """Return a certificate with an RSA key; raises ValueError."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ValueError("an app's certificate is a certificate in PEM") from None
    if isinstance(certificate.public_key(), rsa.RSAPublicKey):
        return certificate
    raise ValueError("an app's certificate holds an RSA key")


def check_assertion(
    assertion: str, certificates: Iterable[str], *, client_id: str, audience: str, now: datetime
) -> None:
    """Return when the assertion is good for this client at this address; raises ``EntraRefusal``."""
    head, claims, signed, signature = _parts(assertion)
    thumbprint = head.get("x5t#S256")
    for pem in certificates:
        certificate = load_certificate(pem)
        if thumbprint == _base64url(certificate.fingerprint(hashes.SHA256())):
            _check_signature(certificate, str(head.get("alg")), signed, signature)
            break
    else:
        raise EntraRefusal(700027)
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise EntraRefusal(700021)
    if claims.get("aud") != audience:
        raise EntraRefusal(700023)
    moment = now.timestamp()
    begin, end = claims.get("nbf", moment), claims.get("exp")
    if not isinstance(begin, int | float) or not isinstance(end, int | float):
        raise EntraRefusal(50027)
    if not begin - _SKEW <= moment < end + _SKEW:
        raise EntraRefusal(700024)


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    try:
        head, claims, signature = assertion.split(".")
        decoded = json.loads(_octets(head)), json.loads(_octets(claims))
        octets = _octets(signature)
    except (ValueError, binascii.Error, RecursionError):
        raise EntraRefusal(50027) from None
    if not all(isinstance(part, dict) for part in decoded):
        raise EntraRefusal(50027)
    return decoded[0], decoded[1], f"{head}.{claims}".encode(), octets


def _check_signature(certificate: x509.Certificate, algorithm: str, signed: bytes, signature: bytes) -> None:
    key = certificate.public_key()
    scheme = {
        "RS256": padding.PKCS1v15(),
        # The salt is as long as the hash (RFC 7518 §3.5).
        "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
    }.get(algorithm)
    if scheme is None or not isinstance(key, rsa.RSAPublicKey):
        raise EntraRefusal(50027)
    try:
        key.verify(signature, signed, scheme, hashes.SHA256())
    except InvalidSignature:
        raise EntraRefusal(700027) from None


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _octets(segment: str) -> bytes:
    return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
