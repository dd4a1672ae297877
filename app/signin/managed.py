"""Tokens of a managed identity, by azure-identity (extra ``azure``), behind the same interface as every other method.

The library is imported only when such a sign-in is built. Its errors end here, its own retries are bounded by our
time limit, and its cache is not used: each request makes a new credential.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from pydantic import SecretStr

from app.kit.clock import Clock
from app.signin.answer import Answer, Busy, Issued, Refusal
from app.signin.endpoint import LIMITS, Limits, timed_out
from app.signin.issuer import Attempt
from app.signin.methods import Endpoint, ManagedIdentity
from app.signin.proof import Facts

_MISSING = "managed-identity needs the extra: install postroom[azure]"


class ManagedIssuer:
    """Asks the machine's identity endpoint. Raises ``ImportError`` with what to install where the extra is missing."""

    is_behind = False

    def __init__(
        self,
        method: ManagedIdentity,
        endpoint: Endpoint,
        clock: Clock,
        *,
        limits: Limits = LIMITS,
    ) -> None:
        try:
            # aiohttp is azure-identity's asynchronous transport and not among its own requirements.
            import aiohttp  # noqa: F401
            import azure.identity.aio  # noqa: F401
        except ImportError:
            raise ImportError(_MISSING) from None
        self._method = method
        self._scope = endpoint.scope
        self._clock = clock
        self._limits = limits

    @property
    def name(self) -> str:
        """The identity's client id, or ``system-assigned``."""
        return f"managed-identity/{self._method.client_id or 'system-assigned'}"

    async def issue(self) -> Attempt:
        """Ask the machine's identity endpoint for a token."""
        try:
            async with asyncio.timeout(self._limits.total):
                answer = await self._ask()
        except TimeoutError:
            answer = timed_out(self._limits)
        return Attempt(answer, await self.inspect())

    async def inspect(self) -> Facts:
        """Return a mark that changes with the chosen identity; nothing here expires."""
        return Facts(hashlib.sha256(self.name.encode()).digest())

    async def catch_up(self) -> None:
        """Do nothing: there is nothing to store."""

    async def _ask(self) -> Answer:
        from azure.core.exceptions import AzureError
        from azure.identity.aio import ManagedIdentityCredential

        options: dict[str, Any] = {"client_id": self._method.client_id} if self._method.client_id else {}
        try:
            # No retries and no proxies here: when to ask again is decided in one place, and the endpoint is local.
            async with ManagedIdentityCredential(retry_total=0, use_env_settings=False, **options) as credential:
                token = await credential.get_token(self._scope)
        except AzureError as error:
            return _judge(_status_of(error), type(error).__name__)
        life = token.expires_on - self._clock.now().timestamp()
        if life < 1:
            return Busy("malformed", "the managed identity endpoint issued a token that has ended: check the clock")
        return Issued(SecretStr(token.token), life)


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error; azure-identity wraps it, sometimes twice."""
    found: BaseException | None = error
    while found is not None:
        status = getattr(found, "status_code", None)
        if isinstance(status, int):
            return status
        found = found.__cause__
    return None


def _judge(status: int | None, kind: str) -> Answer:
    if status is None:
        return Busy("unreachable", f"this machine's managed identity endpoint does not answer ({kind}): not on Azure?")
    if status == 429:
        return Busy("throttled", "the managed identity endpoint asks for fewer requests (429)")
    if status >= 500 or status in {404, 408, 410}:  # 404 and 410: it is starting or being updated
        return Busy("server-error", f"the managed identity endpoint is in trouble ({status})")
    if 200 <= status < 300:
        return Busy("malformed", "the managed identity endpoint answered without a usable token")
    return Refusal("managed-identity", f"the managed identity endpoint refused to issue a token ({status})")
