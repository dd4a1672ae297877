"""One source of tokens for a sign-in, shared by every mailbox that uses it; renews ahead and never asks twice at once.

A token that lives is handed out at once, whatever the token endpoint does meanwhile. Without one, a caller waits for at
most one request, or learns at once when the next may be made. A refusal is remembered for five minutes, unless the
credential changes or somebody resets. Renewal is a loop (``run``) that goes on until ``close``; it sleeps until the
first token has been asked for. Time comes from the clock that was handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.kit.clock import Clock
from app.kit.log import get_logger
from app.mail.aadsts import explain
from app.mail.credential import AccessToken
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.signin.answer import Busy, Issued, Refusal
from app.signin.endpoint import LIMITS, Limits
from app.signin.expiry import Expiry
from app.signin.issuer import Attempt, EndpointIssuer, Issuer
from app.signin.managed import ManagedIssuer
from app.signin.methods import ManagedIdentity, SignIn
from app.signin.proof import Facts

_log = get_logger("signin")

REFUSAL_MEMORY = 300.0  # seconds before a refused credential is shown again
FRESH_INTERVAL = 30.0  # seconds in which one forced token serves all who ask for a fresh one
_LONGEST_BACKOFF = 60.0
_LONGEST_RETRY_AFTER = 3600.0
_STORE_AGAIN = 60.0
_CLOSE_WAIT = 5.0


class TokenRefused(SignInRefused):
    """The token endpoint refused the credential; says so with cause and cure, and keeps every code (``refusal``)."""

    def __init__(self, refusal: Refusal) -> None:
        explanation = explain(refusal.code)
        super().__init__(refusal.code, refusal.text)
        self.refusal = refusal
        self.cause = explanation.cause
        self.cure = explanation.cure


def backoff(failures: int, retry_after: float | None) -> float:
    """Return the seconds before the next request after so many failures in a row: 1, 2, 4 … 60, or as asked for."""
    if retry_after is not None:
        return min(max(retry_after, 1.0), _LONGEST_RETRY_AFTER)
    return float(min(_LONGEST_BACKOFF, 2.0 ** min(failures - 1, 6)))


def build_tokens(
    sign_in: SignIn,
    clock: Clock,
    observe: Callable[[str], None],
    *,
    limits: Limits = LIMITS,
) -> Tokens:
    """Make the source of tokens for ``sign_in``; raises ``ImportError`` when it needs an extra that is not installed.

    ``observe`` is told how each request ended: ``issued refused`` or a word of ``Busy``.
    """
    method, endpoint = sign_in.method, sign_in.endpoint
    issuer: Issuer
    if isinstance(method, ManagedIdentity):
        issuer = ManagedIssuer(method, endpoint, clock, limits=limits)
    else:
        issuer = EndpointIssuer(method, endpoint, clock, limits=limits)
    return Tokens(issuer, clock, observe)


class Tokens:
    """A ``TokenSource``; see the module's promise. Instants are seconds of ``Clock.boot``."""

    def __init__(self, issuer: Issuer, clock: Clock, observe: Callable[[str], None]) -> None:
        self.name = f"tokens {issuer.name}"
        self._issuer = issuer
        self._clock = clock
        self._observe = observe
        self._token: AccessToken | None = None
        self._flight: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._is_closed = False
        self._wake = asyncio.Event()
        self._failures = 0
        self._trouble: Busy | Refusal | None = None
        self._not_before = 0.0
        self._refused_mark: bytes | None = None
        self._forced_at: float | None = None
        self._is_forced = False
        self._store_at: float | None = None
        self._facts = Facts(b"")

    def __repr__(self) -> str:
        token = self._living()
        life = f"lives {token.ends_at - self._clock.boot():.0f}s" if token else "no token"
        state = self._trouble.text if self._trouble else "asking" if self.is_asking else "well"
        return f"<Tokens {self._issuer.name} {life}, {state}>"

    @property
    def is_asking(self) -> bool:
        """Whether a request is under way."""
        return self._flight is not None

    @property
    def trouble(self) -> Busy | Refusal | None:
        """Why the last request failed; None when it succeeded or none was made."""
        return self._trouble

    @property
    def expiries(self) -> tuple[Expiry, ...]:
        """When the credential ends, as last read; empty before the first ``inspect``."""
        return self._facts.expiries

    @property
    def mark(self) -> bytes:
        """A digest that changes when the credential does, as last read; whoever stores it keys it first."""
        return self._facts.mark

    async def inspect(self) -> Facts:
        """Read the credential anew, so that ``expiries`` and ``mark`` are up to date; asks for no token."""
        self._facts = await self._issuer.inspect()
        return self._facts

    async def token(self, *, fresh: bool = False) -> AccessToken:
        """Return a token that lives; see ``TokenSource``.

        ``fresh`` asks for a newer one, at most one request in ``FRESH_INTERVAL``; within it, the newest one serves.
        """
        self._want()
        before = self._living()
        if before is not None and not (fresh and self._may_force()):
            return before
        if self._flight is None:
            await self._pass_gate()
        await self._ride(forced=fresh)
        after = self._living()
        if after is None or (fresh and after is before):
            raise self._refusal_or_trouble()
        return after

    def reset(self) -> None:
        """Forget troubles and refusals: the next request may be made at once."""
        self._trouble = None
        self._failures = 0
        self._not_before = 0.0
        self._refused_mark = None
        self._wake.set()

    async def run(self) -> None:
        """Keep the token fresh until ``close``; reads the credential's ends first."""
        await self.inspect()
        while not self._is_closed:
            self._wake.clear()
            if await self._clock.wait(self._wake, self._seconds_to_next()):
                continue
            if self._store_at is not None and self._clock.boot() >= self._store_at:
                await self._store_again()
            elif self._flight is None:
                await self._ride(forced=False)

    async def close(self) -> None:
        """End the loop and the request under way, which gets five seconds; a living token is still handed out."""
        self._is_closed = True
        self._wake.set()
        flight = self._flight
        if flight is not None:
            await asyncio.wait({flight}, timeout=_CLOSE_WAIT)
            flight.cancel()
            await asyncio.wait({flight})

    def _want(self) -> None:
        if not self._is_wanted:
            self._is_wanted = True
            self._wake.set()

    def _living(self) -> AccessToken | None:
        token = self._token
        return token if token is not None and token.ends_at > self._clock.boot() else None

    def _may_force(self) -> bool:
        """Whether a fresh token may be asked for: a request under way will bring one, a recent one has."""
        if self._flight is not None or self._forced_at is None:
            return True
        return self._clock.boot() - self._forced_at >= FRESH_INTERVAL

    async def _pass_gate(self) -> None:
        """Return when a request may be made now; else raise why not."""
        if self._clock.boot() >= self._not_before:
            return
        if isinstance(self._trouble, Refusal) and (await self.inspect()).mark != self._refused_mark:
            self.reset()
            return
        raise self._refusal_or_trouble()

    def _refusal_or_trouble(self) -> Exception:
        if self._is_closed and self._trouble is None:
            return ConnectTrouble("token", "no token: sign-in is stopping")
        if isinstance(self._trouble, Refusal):
            return TokenRefused(self._trouble)
        text = self._trouble.text if self._trouble else "the token ended before it could be used"
        return ConnectTrouble("token", text, retry_after=max(0.0, self._not_before - self._clock.boot()))

    async def _ride(self, *, forced: bool) -> None:
        """Wait for the request under way, or make one. A cancelled caller leaves it running for the others."""
        if self._flight is None:
            if self._is_closed:
                return
            self._is_forced = False
            self._flight = asyncio.create_task(self._fly(), name=f"{self.name} request")
        self._is_forced |= forced
        flight = self._flight
        await asyncio.wait({flight})
        if not flight.cancelled():
            flight.result()  # a fault of our own is everybody's

    async def _fly(self) -> None:
        began = self._clock.boot()
        try:
            self._settle(await self._issuer.issue(), began)
        finally:
            self._flight = None
            self._wake.set()

    def _settle(self, attempt: Attempt, began: float) -> None:
        now = self._clock.boot()
        answer = attempt.answer
        if attempt.facts is not None:
            self._facts = attempt.facts
        if isinstance(answer, Issued):
            self._trouble, self._failures, self._not_before, self._refused_mark = None, 0, 0.0, None
            # Counted from the request, not from the answer: a slow answer must not lengthen a life.
            self._token = AccessToken(answer.value, began + answer.life, answer.life)
            self._forced_at = now if self._is_forced else self._forced_at
            self._store_at = now + _STORE_AGAIN if self._issuer.is_behind else None
            self._observe("issued")
            _log.info("token issued", sign_in=self._issuer.name, life_seconds=round(answer.life))
            return
        self._trouble = answer
        if isinstance(answer, Busy):
            self._failures += 1
            wait = backoff(self._failures, answer.retry_after)
            self._observe(answer.result)
        else:
            self._failures = 0
            wait = REFUSAL_MEMORY
            self._refused_mark = self._facts.mark
            self._observe("refused")
        self._not_before = now + wait
        self._tell(answer, wait)

    def _tell(self, trouble: Busy | Refusal, wait: float) -> None:
        log = _log.bind(sign_in=self._issuer.name, text=trouble.text, wait_seconds=wait)
        if isinstance(trouble, Busy):
            log.warning("no token", result=trouble.result)
            return
        log.error(
            "token refused",
            code=trouble.code,
            error=trouble.error,
            error_codes=trouble.error_codes,
            trace_id=trouble.trace_id,
            correlation_id=trouble.correlation_id,
        )

    def _seconds_to_next(self) -> float | None:
        """Return how long the loop may sleep; None: until it is woken."""
        dues = [] if self._store_at is None else [self._store_at]
        if self._is_wanted and self._flight is None:
            renew_at = self._token.ends_at - self._token.margin if self._token is not None else 0.0
            dues.append(max(renew_at, self._not_before))
        return max(0.0, min(dues) - self._clock.boot()) if dues else None

    async def _store_again(self) -> None:
        await self._issuer.catch_up()
        self._store_at = self._clock.boot() + _STORE_AGAIN if self._issuer.is_behind else None
