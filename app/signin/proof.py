"""Turns a credential into the form that the token endpoint is shown (RFC 6749 §4.4, §6, RFC 7523 §2.2).

Reads the files of the credential anew each time, so that whatever rotates them needs no restart. Blocking; time and
the assertion's identifier are handed in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from app.signin.certificate import assertion, load_certificate
from app.signin.expiry import REFRESH_TOKEN_REST, Expiry
from app.signin.files import CredentialUnreadable, read_credential
from app.signin.methods import ClientCertificate, ClientSecret, FederatedToken, RefreshToken
from app.signin.refresh_file import Kept, RefreshTokenFile

Shown = ClientSecret | ClientCertificate | FederatedToken | RefreshToken
"""The methods whose credential is shown to the token endpoint by ourselves."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SECRET_FIELDS = ("client_secret", "client_assertion", "refresh_token")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a credential without showing it: when it ends, and a mark that changes when it does.

    The mark is a plain digest; whoever stores it keys it first.
    """

    mark: bytes = field(repr=False)
    expiries: tuple[Expiry, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """The form fields, the refresh token they use (if so), and the facts."""

    form: Mapping[str, str] = field(repr=False)
    facts: Facts
    kept: Kept | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must not appear in any text."""
        return tuple(self.form[name] for name in _SECRET_FIELDS if name in self.form)


def prove(
    method: Shown, scope: str, url: str, refresh_file: RefreshTokenFile | None, *, now: datetime, identifier: str
) -> Proof:
    """Build the request for a token at ``url``; raises ``CredentialUnreadable``."""
    common = {"client_id": method.client_id, "scope": scope}
    match method:
        case ClientSecret(secret=secret):
            form = {"grant_type": "client_credentials", "client_secret": secret.get_secret_value()}
            ends = (Expiry("secret", method.expires_at),) if method.expires_at else ()
            return Proof(common | form, Facts(_mark(method, secret), ends))
        case ClientCertificate():
            certificate = load_certificate(method.certificate_file, method.password)
            signed = assertion(
                certificate,
                method.algorithm,
                audience=url,
                client_id=method.client_id,
                now=now,
                identifier=identifier,
            )
            ends = (Expiry("certificate", certificate.not_after),)
            return Proof(common | _asserted(signed), Facts(_mark(method, certificate.thumbprint.hex()), ends))
        case FederatedToken():
            token = _token_in(method)
            return Proof(common | _asserted(token), Facts(_mark(method, token)))
        case RefreshToken():
            if refresh_file is None:
                raise ValueError("a refresh token needs its file")
            kept = refresh_file.newest()
            form = {"grant_type": "refresh_token", "refresh_token": kept.token.get_secret_value()}
            if method.client_secret is not None:
                form["client_secret"] = method.client_secret.get_secret_value()
            ends = (Expiry("refresh-token", kept.used_at + REFRESH_TOKEN_REST),)
            return Proof(common | form, Facts(_mark(method, kept.origin, method.client_secret), ends), kept)


def unreadable_facts(error: CredentialUnreadable) -> Facts:
    """Return the facts of a credential that cannot be read: as soon as it can, or fails otherwise, its mark differs."""
    return Facts(hashlib.sha256(str(error).encode()).digest())


def _asserted(signed: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": _ASSERTION_TYPE,
        "client_assertion": signed,
    }


def _token_in(method: FederatedToken) -> str:
    token = read_credential(method.token_file).decode("utf-8", "replace").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialUnreadable(method.token_file, "is not a token on one line")
    return token


def _mark(method: Shown, *material: str | SecretStr | None) -> bytes:
    plain = [item.get_secret_value() if isinstance(item, SecretStr) else item for item in material]
    parts = [type(method).__name__, method.directory, method.client_id, *plain]
    return hashlib.sha256(json.dumps(parts).encode()).digest()
