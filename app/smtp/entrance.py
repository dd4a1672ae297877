"""Makes the authenticated sessions of one mailbox, and is careful with its credential.

Sign-ins run one at a time until a session stands; who waited for one that failed is told of that failure instead of
failing again: one wrong password is one failure, however many ask. A refused token is followed by one fresh one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from app.kit.clock import Clock
from app.mail.credential import AccessToken, Credential, PasswordCredential
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.observer import Observer
from app.smtp.opening import Opened, Opening
from app.smtp.session import Session
from app.smtp.sign_in import Dialogue, is_worth_a_fresh_token
from app.smtp.target import Features, Target


class Entrance:
    """See the module's promise. ``is_inside`` says whether a session of the mailbox stands.

    ``is_token_good`` says whether others are known to use the same token with success: a mailbox that never signed in
    then is refused for its own sake, and no fresh token helps.
    """

    def __init__(
        self,
        target: Target,
        credential: Credential,
        is_inside: Callable[[], bool],
        clock: Clock,
        observe: Observer,
        is_token_good: Callable[[], bool],
    ) -> None:
        self.opened = 0  # sessions signed in so far
        self.features: Features | None = None  # the last EHLO under TLS
        self._target = target
        self._credential = credential
        self._is_inside = is_inside
        self._clock = clock
        self._observe = observe
        self._is_token_good = is_token_good
        self._gate = asyncio.Lock()
        self._failure: ConnectTrouble | SignInRefused | None = None
        self._openings: set[Opening] = set()
        self._aborts = 0

    async def enter(self) -> Session:
        """Return a new session; raises ``ConnectTrouble``, ``SignInRefused``. Cancelled, it leaves nothing open."""
        known = self._failure
        while not self._is_proven():
            async with self._gate:
                if self._failure is not known and self._failure is not None:
                    raise self._failure.with_traceback(None)
                if not self._is_proven():
                    return await self._try()
        return await self._try()

    def renewed(self, target: Target, credential: Credential) -> Entrance:
        """Return an entrance to another target, or with another credential, that goes on counting."""
        entrance = Entrance(target, credential, self._is_inside, self._clock, self._observe, self._is_token_good)
        entrance.opened = self.opened
        return entrance

    def abort(self) -> None:
        """Cut what is being opened."""
        self._aborts += 1
        for opening in list(self._openings):
            opening.abort()

    def _is_proven(self) -> bool:
        """Whether the credential is known to be good: a session stands by it, and it was not refused since."""
        return self._is_inside() and not isinstance(self._failure, SignInRefused)

    async def _try(self) -> Session:
        try:
            session = await self._sign_in(self._aborts)
        except (ConnectTrouble, SignInRefused) as problem:
            self._failure = problem
            self._observe.connect_failed(problem.reason if isinstance(problem, ConnectTrouble) else "sign-in")
            raise
        self._failure = None
        self.opened += 1
        return session

    async def _sign_in(self, aborts: int) -> Session:
        credential = self._credential
        if isinstance(credential, PasswordCredential):
            return await self._connect(_Proof(credential.username, credential.password, None), aborts)
        token = await credential.source.token()
        try:
            return await self._connect(_Proof(credential.username, token.value, token), aborts)
        except SignInRefused as refusal:
            if not is_worth_a_fresh_token(refusal) or (not self.opened and self._is_token_good()):
                raise
            try:
                fresh = await credential.source.token(fresh=True)
            except ConnectTrouble:
                # None is to be had now: the token that was refused must not be shown again until one is.
                raise refusal from None
            if fresh.value == token.value:
                raise
        try:
            return await self._connect(_Proof(credential.username, fresh.value, fresh), aborts)
        except SignInRefused as refusal:
            refusal.refusals += 1
            raise

    async def _connect(self, proof: _Proof, aborts: int) -> Session:
        """Return a new session, signed in; ``aborts`` is the count of aborts that this attempt knows of."""
        if aborts != self._aborts:
            raise ConnectTrouble("closed", "the attempt was cut by us")
        opening = Opening(self._target)
        self._openings.add(opening)
        session: Session | None = None
        try:
            began = self._clock.boot()
            opened = await opening.run()
            connected = self._clock.boot()
            self._observe.connected(connected - began, opened.greeting)
            self.features = opened.features
            await self._present(opened, proof)
            now = self._clock.boot()
            self._observe.signed_in(now - connected)
            session = Session(opened, self._target, now, proof.token, self._observe)
            return session
        finally:
            self._openings.discard(opening)
            if session is None:
                opening.abort()

    async def _present(self, opened: Opened, proof: _Proof) -> None:
        target = self._target
        dialogue = Dialogue(opened.wire, opened.features.mechanisms, target.timeouts.command, str(target))
        sign_in = dialogue.with_password if proof.token is None else dialogue.with_token
        await sign_in(proof.username, proof.secret.get_secret_value())


@dataclass(frozen=True, slots=True)
class _Proof:
    """What is presented: a password, or a token as ``secret``, which then is of ``token``."""

    username: str
    secret: SecretStr
    token: AccessToken | None
