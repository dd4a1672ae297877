"""What stories about the wire need on our side: a target, a credential, a content, a mark, and ears."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from app.kit.clock import Clock, SystemClock
from app.mail.credential import AccessToken, Credential, PasswordCredential
from app.mail.transaction import Content, Envelope, HandOver, Replies
from app.smtp import Pool, Session, Target, Timeouts

USER = "noreply@example.com"
PASSWORD = "correct-horse-battery"
CREDENTIAL = PasswordCredential(USER, SecretStr(PASSWORD))
TIMEOUTS = Timeouts(connect=5.0, command=5.0, data=5.0, final=5.0)
SMALL = b"Subject: one\r\n\r\n.a line that begins with a dot\r\nend\r\n"
SMALL_ON_WIRE = b"Subject: one\r\n\r\n..a line that begins with a dot\r\nend\r\n.\r\n"


def envelope(*recipients: str, size: int = len(SMALL), smtputf8: bool = False) -> Envelope:
    return Envelope(USER, recipients or ("anna@example.org",), size, smtputf8)


class Octets:
    """A content of given chunks; counts how often it was read, and may fail at its end."""

    def __init__(self, *chunks: bytes, failure: Exception | None = None) -> None:
        self._chunks = chunks or (SMALL,)
        self._failure = failure
        self.readings = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        self.readings += 1
        for chunk in self._chunks:
            yield chunk
        if self._failure is not None:
            raise self._failure


class Mark:
    """A hand-over mark: grants or refuses, at once or when let go; counts how often it was asked for."""

    def __init__(self, granted: bool = True, *, failure: Exception | None = None, is_held: bool = False) -> None:
        self._granted = granted
        self._failure = failure
        self.asked = 0
        self.go = asyncio.Event()
        if not is_held:
            self.go.set()

    async def __call__(self) -> bool:
        self.asked += 1
        await self.go.wait()
        if self._failure is not None:
            raise self._failure
        return self._granted


class Notes:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.sign_ins = 0
        self.failed: list[str] = []
        self.transactions: list[tuple[float, float]] = []
        self.ends: list[str] = []

    def connected(self, seconds: float, greeting: str) -> None:
        self.connections.append(greeting)

    def signed_in(self, seconds: float) -> None:
        self.sign_ins += 1

    def connect_failed(self, reason: str) -> None:
        self.failed.append(reason)

    def transaction(self, envelope: float, content: float) -> None:
        self.transactions.append((envelope, content))

    def closed(self, reason: str) -> None:
        self.ends.append(reason)


class Tokens:
    """A token source that gives what it was told to, one after the other; ``fresh`` moves on."""

    def __init__(self, *given: AccessToken | Exception) -> None:
        self._given = list(given)
        self.asked: list[bool] = []

    def renew(self, token: AccessToken) -> None:
        self._given = [token]

    async def token(self, *, fresh: bool = False) -> AccessToken:
        self.asked.append(fresh)
        if fresh and len(self._given) > 1:
            del self._given[0]
        if isinstance(self._given[0], Exception):
            raise self._given[0]
        return self._given[0]


def access_token(value: str = "eyJ0.token-of-a-test.sig", ends_at: float = 4600.0, life: float = 3600.0) -> AccessToken:
    return AccessToken(SecretStr(value), ends_at, life)


def target(port: int, tls: ssl.SSLContext, **changes: Any) -> Target:
    values: dict[str, Any] = {
        "host": "localhost",
        "port": port,
        "tls": tls,
        "pipelining": True,
        "ehlo_name": "postroom.example.com",
        "timeouts": TIMEOUTS,
    }
    return Target(**(values | changes))


MakePool = Callable[..., Pool]


@asynccontextmanager
async def pools(tls: ssl.SSLContext) -> AsyncIterator[MakePool]:
    """Give a maker of pools, ``make(port, …)``; what they hold at the end is cut."""
    made: list[Pool] = []

    def make(
        port: int,
        *,
        credential: Credential = CREDENTIAL,
        limit: int = 3,
        idle_seconds: float = 240.0,
        age_seconds: float = 480.0,
        clock: Clock | None = None,
        observe: Notes | None = None,
        **changes: Any,
    ) -> Pool:
        pool = Pool(
            "noreply",
            target(port, tls, **changes),
            credential,
            limit=limit,
            idle_seconds=idle_seconds,
            age_seconds=age_seconds,
            clock=clock or SystemClock(),
            observe=observe or Notes(),
        )
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.abort()
        await pool.close(1.0)
    for _ in range(5):  # let the last ends of connections be noticed
        await asyncio.sleep(0)


async def submit(
    pool: Pool,
    envelope_: Envelope | None = None,
    content: Content | None = None,
    mark: HandOver | None = None,
) -> Replies:
    """Lend a session for one transaction."""
    async with pool.lend() as session:
        return await session.submit(envelope_ or envelope(), content or Octets(), mark or Mark())


async def submit_many(session: Session, count: int) -> Sequence[Replies]:
    return [await session.submit(envelope(), Octets(), Mark()) for _ in range(count)]


async def until(condition: Callable[[], object], limit: float = 3.0) -> None:
    """Wait, at most ``limit`` seconds, until something is so."""
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.002)
