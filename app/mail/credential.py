"""What a session signs in with: a user name and a password, or a user name and an access token.

The contract between the wire, which presents a credential, and sign-in, which obtains tokens; the two rooms know this
file and not each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An OAuth access token; ``ends_at`` and ``life`` are seconds of the clock that never jumps (``Clock.boot``)."""

    value: SecretStr
    ends_at: float
    life: float

    @property
    def margin(self) -> float:
        """Return how long before its end a token, and a session signed in with it, is replaced, in seconds."""
        return min(600.0, self.life / 5)


class TokenSource(Protocol):
    """Gives access tokens."""

    async def token(self, *, fresh: bool = False) -> AccessToken:
        """Return a token that still lives; at once where one is at hand.

        ``fresh`` asks for one issued after this call (the server refused the last). Raises ``ConnectTrouble`` (reason
        ``token``) when the token endpoint cannot be used and no live token is left, ``SignInRefused`` when it refused.
        """
        ...


@dataclass(frozen=True, slots=True)
class PasswordCredential:
    """User name and password, for AUTH LOGIN or PLAIN."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """The mailbox named in ``user=`` and where its tokens come from, for AUTH XOAUTH2."""

    username: str
    source: TokenSource


Credential = PasswordCredential | TokenCredential
