"""The ways to obtain an access token, as values: which credential, and which endpoint it is shown to.

Frozen and comparable, so that mailboxes with an equal ``SignIn`` share one source of tokens. Secrets are ``SecretStr``
and never appear in a repr. Nothing here reads a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from app.signin.clouds import CLOUDS

# A directory is a GUID or a domain; anything else could change the path of the token endpoint.
_DIRECTORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


def _check_directory(directory: str) -> None:
    if not _DIRECTORY.fullmatch(directory):
        raise ValueError("directory must be the directory (tenant) id or one of its domains")


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """An app with a client secret; ``expires_at`` as shown where it was made, since no one else tells it."""

    directory: str
    client_id: str
    secret: SecretStr
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        _check_directory(self.directory)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """An app with a certificate: PEM (key and certificate in one file) or PFX, read anew for each token."""

    directory: str
    client_id: str
    certificate_file: Path
    password: SecretStr | None = None
    algorithm: Literal["PS256", "RS256"] = "PS256"  # Entra advises PS256; RS256 is for older look-alikes

    def __post_init__(self) -> None:
        _check_directory(self.directory)


@dataclass(frozen=True, slots=True)
class FederatedToken:
    """An app with a federated credential (workload identity): a token file that somebody else keeps fresh."""

    directory: str
    client_id: str
    token_file: Path

    def __post_init__(self) -> None:
        _check_directory(self.directory)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A user's consent (delegated): the file holds the refresh token, plain as first put there, encrypted ever after.

    ``key_file`` holds the key; None means ``<refresh_token_file>.key``. ``client_secret`` only for a confidential app.
    """

    directory: str
    client_id: str
    refresh_token_file: Path
    client_secret: SecretStr | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        _check_directory(self.directory)


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """The identity Azure gives to the machine; ``client_id`` chooses a user-assigned one."""

    client_id: str | None = None


Method = ClientSecret | ClientCertificate | FederatedToken | RefreshToken | ManagedIdentity


def _has_good_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The token endpoint: ``authority`` (base without the directory), ``scope``, and extra trust in ``ca_file``.

    Plain HTTP is refused unless the host is this machine: the request carries the credential.
    """

    authority: str
    scope: str
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.authority)
        if parts.scheme not in {"https", "http"} or not parts.hostname or not _has_good_port(parts):
            raise ValueError("authority must be a URL such as https://login.microsoftonline.com")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("authority must not have a user name, a query or a fragment")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("authority must be https: the request carries the credential")
        if not self.scope.strip():
            raise ValueError("scope must not be empty")

    def url(self, directory: str) -> str:
        """Return the address of the token endpoint for ``directory``."""
        return f"{self.authority.rstrip('/')}/{directory}/oauth2/v2.0/token"


def endpoint_of(
    method: Method,
    cloud: str = "worldwide",
    *,
    authority: str | None = None,
    scope: str | None = None,
    ca_file: Path | None = None,
) -> Endpoint:
    """Return the endpoint for ``method`` in ``cloud`` (a name of ``CLOUDS``), with whatever is overridden."""
    home = CLOUDS[cloud]
    default = home.delegated_scope if isinstance(method, RefreshToken) else home.scope
    return Endpoint(authority or home.authority, scope or default, ca_file)


@dataclass(frozen=True, slots=True)
class SignIn:
    """A credential and the endpoint it is shown to; equal ones share one source of tokens."""

    method: Method
    endpoint: Endpoint
