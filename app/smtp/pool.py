"""Lends the sessions of one mailbox. A session is lent to one transaction at a time and comes back clean or not at all.

Never more than ``limit`` connections stand, those counted in that are being opened or said goodbye to. The session used
last is lent first, so that surplus ones grow idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from app.kit.clock import Clock
from app.mail.credential import Credential, TokenCredential
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.smtp.entrance import Entrance
from app.smtp.observer import Observer, silent
from app.smtp.session import Lifetime, Session
from app.smtp.target import Features, Target

# What a server gets for its goodbye to a session that is replaced.
_QUIT_SECONDS = 5.0


class _Loan(AbstractAsyncContextManager[Session]):
    """One lending: a plain object, since a generator costs three times as much and each message is lent a session."""

    __slots__ = ("_give_back", "_session", "_take")

    def __init__(self, take: Callable[[], Awaitable[Session]], give_back: Callable[[Session], None]) -> None:
        self._take = take
        self._give_back = give_back
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        self._session = session = await self._take()
        return session

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            self._give_back(self._session)


class Pool:
    """See the module's promise."""

    def __init__(
        self,
        name: str,
        target: Target,
        credential: Credential,
        *,
        limit: int,
        idle_seconds: float,
        age_seconds: float,
        clock: Clock,
        observe: Observer = silent,
        is_token_good: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.target = target
        self._credential = credential
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._age_seconds = age_seconds
        self._clock = clock
        self._observe = observe
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._leaving: dict[Session, asyncio.Task[None]] = {}
        self._opening = 0
        self._guests = 0  # connections that others make in the place of a session
        self._guest_gate = asyncio.Lock()
        self._entrance = Entrance(target, credential, lambda: self.open > 0, clock, observe, is_token_good)
        self._freshest_token_ends_at = 0.0
        self._is_closed = False
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        closed = ", closed" if self._is_closed else ""
        return (
            f"<Pool {self.name} {len(self._busy)} busy, {len(self._idle)} idle, {self._opening} opening, "
            f"{len(self._leaving)} leaving, of {self._limit}{closed}>"
        )

    @property
    def open(self) -> int:
        """Return how many sessions stand, lent or idle."""
        return len(self._idle) + len(self._busy)

    @property
    def busy(self) -> int:
        """Return how many sessions are lent."""
        return len(self._busy)

    @property
    def opened(self) -> int:
        """Return how many sessions have been signed in so far."""
        return self._entrance.opened

    @property
    def features(self) -> Features | None:
        """Return what the server offered in the last EHLO under TLS; None before the first."""
        return self._entrance.features

    @property
    def limit(self) -> int:
        """Return how many sessions may stand; lowering it closes idle ones that are too many."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._make_way()
        self._notify()

    def renew(self, target: Target, credential: Credential, *, idle_seconds: float, age_seconds: float) -> None:
        """Go on with another target or credential: what stands is said goodbye to, lent sessions when they come back.

        Old and new sessions together keep to the limit.
        """
        self.target, self._credential = target, credential
        self._idle_seconds, self._age_seconds = idle_seconds, age_seconds
        self._entrance = self._entrance.renewed(target, credential)
        for session in (*self._idle, *self._busy):
            session.is_outdated = True
        for session in list(self._idle):
            self._retire(session, "changed")
        self._notify()

    # ------------------------------------------------------------ lending

    def lend(self) -> AbstractAsyncContextManager[Session]:
        """Lend a warm session, or open one; waits while ``limit`` are in use.

        Raises ``ConnectTrouble`` or ``SignInRefused``. Cancelled, it leaves nothing behind.
        """
        return _Loan(self._take, self._give_back)

    async def _take(self) -> Session:
        while not self._is_closed:
            session = self._warm()
            if session is not None:
                self._busy.add(session)
                return session
            if self._standing < self._limit - self._guests:
                return await self._open()
            self._changed.clear()
            await self._changed.wait()
        raise ConnectTrouble("closed", f"the sessions of {self.name} are being closed")

    def _warm(self) -> Session | None:
        """Return the idle session used last that may still be used; say goodbye to those that may not."""
        now, lifetime = self._clock.boot(), self._lifetime()
        while self._idle:
            session = self._idle[-1]
            why = session.why_replace(now, lifetime)
            if why is None:
                return self._idle.pop()
            self._retire(session, why)
        return None

    def _give_back(self, session: Session) -> None:
        self._busy.discard(session)
        session.rest(self._clock.boot())
        broken = session.wire.broken
        if broken is not None:
            self._observe.closed(broken.reason)
        else:
            self._idle.append(session)
            why = session.why_replace(session.idle_since, self._lifetime())
            if self._is_closed:
                why = "shutdown"
            elif self.open + self._opening > self._limit - self._guests:
                why = "surplus"
            if why is not None:
                self._retire(session, why)
        self._notify()

    def _lifetime(self) -> Lifetime:
        return Lifetime(self._idle_seconds, self._age_seconds, self._freshest_token_ends_at)

    async def _open(self) -> Session:
        self._opening += 1
        entrance = self._entrance
        try:
            session = await entrance.enter()
        finally:
            self._opening -= 1
            self._notify()
        session.is_outdated = entrance is not self._entrance
        session.wire.on_broken = lambda: self._lost(session)
        self._busy.add(session)
        return session

    @asynccontextmanager
    async def room(self) -> AsyncIterator[Entrance]:
        """Give up one session's place to a connection that a guest makes, by the entrance that is handed out.

        An idle session makes way, a lent one is waited for. One guest at a time; raises ``ConnectTrouble`` when closed.
        """
        async with self._guest_gate:
            self._guests += 1
            self._make_way()
            try:
                while self._standing > self._limit - self._guests and not self._is_closed:
                    self._changed.clear()
                    await self._changed.wait()
                if self._is_closed:
                    raise ConnectTrouble("closed", f"the sessions of {self.name} are being closed")
                yield self._entrance
            finally:
                self._guests -= 1
                self._notify()

    @property
    def _standing(self) -> int:
        """Return how many connections of its own stand, in whatever state."""
        return self.open + self._opening + len(self._leaving)

    def _make_way(self) -> None:
        """Say goodbye to idle sessions that are too many."""
        while self._idle and self.open + self._opening > self._limit - self._guests:
            self._retire(self._idle[0], "surplus")

    # ------------------------------------------------------------ closing

    async def tend(self) -> None:
        """Say goodbye to idle sessions that are too old or idle for too long; to be called every few seconds."""
        await self._look_for_token()
        now, lifetime = self._clock.boot(), self._lifetime()
        for session in list(self._idle):
            why = session.why_replace(now, lifetime)
            if why is not None:
                self._retire(session, why)

    async def close(self, timeout: float) -> None:
        """Lend no more and say QUIT on each session, for ``timeout`` seconds at most; those then left are cut.

        Lent sessions are waited for within that time, and get their QUIT when they come back, even after it.
        """
        self._is_closed = True
        for session in list(self._idle):
            self._retire(session, "shutdown")
        self._notify()
        try:
            async with asyncio.timeout(timeout):
                while self._busy or self._leaving:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            leaving = dict(self._leaving)
            for session in leaving:
                session.wire.cut("aborted", "the server took too long over its goodbye")
            if leaving:
                await asyncio.wait(leaving.values())

    def abort(self) -> None:
        """Cut every session now, lent ones and those being opened too; the pool stays usable."""
        self._entrance.abort()
        for session in (*self._idle, *self._busy, *self._leaving):
            session.wire.cut("aborted", "the session was cut by us")

    async def _look_for_token(self) -> None:
        """Learn whether there is a newer token than one that nears its end; asks for none while that one lives."""
        if not isinstance(self._credential, TokenCredential):
            return
        now = self._clock.boot()
        tokens = [session.token for session in (*self._idle, *self._busy) if session.token is not None]
        ends = [token.ends_at for token in tokens if token.ends_at - token.margin <= now < token.ends_at]
        if ends and max(ends) >= self._freshest_token_ends_at:
            try:
                token = await self._credential.source.token()
            except (ConnectTrouble, SignInRefused):
                return
            self._freshest_token_ends_at = token.ends_at

    def _retire(self, session: Session, why: str) -> None:
        """Say goodbye to an idle session in the background."""
        self._idle.remove(session)
        self._observe.closed(why)
        self._leaving[session] = asyncio.create_task(self._say_goodbye(session), name=f"smtp.quit.{self.name}")

    async def _say_goodbye(self, session: Session) -> None:
        try:
            await session.wire.leave(_QUIT_SECONDS)
        finally:
            del self._leaving[session]
            self._notify()

    def _lost(self, session: Session) -> None:
        """Forget an idle session whose connection broke; a lent one is looked at when it comes back."""
        if session in self._idle and session.wire.broken is not None:
            self._idle.remove(session)
            self._observe.closed(session.wire.broken.reason)
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
