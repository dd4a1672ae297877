"""Obtains one access token at a time, whatever the method; ``Tokens`` decides when.

``issue`` never raises what an endpoint, a file or a library did: every end is an ``Answer``. A rotated refresh token is
stored before its access token is handed out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import uuid4

from app.kit.clock import Clock
from app.kit.log import get_logger
from app.signin.answer import Answer, Issued, Refusal
from app.signin.endpoint import LIMITS, Limits, post, timed_out, tls_context
from app.signin.files import CredentialUnreadable
from app.signin.methods import Endpoint, RefreshToken
from app.signin.proof import Facts, Proof, Shown, prove, unreadable_facts
from app.signin.refresh_file import Kept, RefreshTokenFile

_log = get_logger("signin")


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one request ended; ``facts`` are those of the credential it showed, None when it was never read."""

    answer: Answer
    facts: Facts | None


class Issuer(Protocol):
    """Where tokens come from."""

    @property
    def name(self) -> str:
        """What logs call it; no secret."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether something obtained earlier still waits to be stored."""
        ...

    async def issue(self) -> Attempt:
        """Ask for a token; ends within the time limits."""
        ...

    async def inspect(self) -> Facts:
        """Read the credential without showing it."""
        ...

    async def catch_up(self) -> None:
        """Store what ``is_behind`` tells of."""
        ...


class EndpointIssuer:
    """Shows a credential to a token endpoint by a POST of our own."""

    def __init__(
        self,
        method: Shown,
        endpoint: Endpoint,
        clock: Clock,
        *,
        limits: Limits = LIMITS,
        identifier: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._method = method
        self._endpoint = endpoint
        self._url = endpoint.url(method.directory)
        self._clock = clock
        self._limits = limits
        self._identifier = identifier
        self._refresh_file = (
            RefreshTokenFile(
                method.refresh_token_file, method.key_file, (endpoint.authority, method.directory, method.client_id)
            )
            if isinstance(method, RefreshToken)
            else None
        )

    @property
    def name(self) -> str:
        """Directory and client."""
        return f"{self._method.directory}/{self._method.client_id}"

    @property
    def is_behind(self) -> bool:
        """Whether a rotated refresh token still waits to be stored."""
        return self._refresh_file is not None and self._refresh_file.is_behind

    async def issue(self) -> Attempt:
        """Ask for a token; store a rotated refresh token first."""
        proof = None
        try:
            async with asyncio.timeout(self._limits.total):
                proof, context = await asyncio.to_thread(self._prepare)
                answer = await post(self._url, proof, context, self._limits, self._clock.now())
        except TimeoutError:
            answer = timed_out(self._limits)
        except CredentialUnreadable as error:
            return Attempt(unreadable(error), unreadable_facts(error))
        facts = proof.facts if proof is not None else None
        if isinstance(answer, Issued) and proof is not None and proof.kept is not None:
            await self._keep(proof.kept, answer)
        return Attempt(answer, facts)

    async def inspect(self) -> Facts:
        """Read the credential's files."""
        try:
            proof, _ = await asyncio.to_thread(self._prepare)
        except CredentialUnreadable as error:
            return unreadable_facts(error)
        return proof.facts

    async def catch_up(self) -> None:
        """Store a rotated refresh token that could not be stored when it came."""
        if self._refresh_file is not None:
            await self._stored(self._refresh_file.keep_again)

    def _prepare(self) -> tuple[Proof, ssl.SSLContext]:
        """Read everything a request needs; blocking."""
        proof = prove(
            self._method,
            self._endpoint.scope,
            self._url,
            self._refresh_file,
            now=self._clock.now(),
            identifier=self._identifier(),
        )
        return proof, tls_context(self._url, self._endpoint.ca_file)

    async def _keep(self, used: Kept, issued: Issued) -> None:
        """Store the newest refresh token; the one used, where none came back, so that no plain one stays behind."""
        newest = Kept(issued.refresh_token or used.token, self._clock.now(), used.origin)
        if self._refresh_file is not None:
            await self._stored(partial(self._refresh_file.keep, newest))

    async def _stored(self, store: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(store)
        except (OSError, CredentialUnreadable) as error:
            # The access token is good all the same, and the newest refresh token is in memory.
            _log.error("refresh token not stored", sign_in=self.name, fault=str(error))


def unreadable(error: CredentialUnreadable) -> Refusal:
    """Return the refusal of a credential that never left the machine."""
    return Refusal(code="credential-unreadable", text=str(error))
