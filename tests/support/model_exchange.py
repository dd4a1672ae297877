"""Exchange's rules around a mailbox, in memory: a next hop behind ``delivery.transport.Sessions``, and its diary.

Stricter than Exchange wherever Microsoft does not say how it counts: the minute is counted by first byte, by dot, and
by clock minutes, refusals counted in; four refusals of one family within ten minutes block the mailbox for good. Every
transaction is written into the diary as it was seen from here, so that a proof needs nothing that the relay believes.
A transaction that is cut after its dot has been heard may be taken all the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from fnmatch import fnmatchcase

from app.mail.reply import Phase, Reply, reply_of
from app.mail.transaction import Content, Envelope, Fate, HandOver, Replies

MINUTE, DAY = 60.0, 86_400.0
#: Nobody lives there: ``550 5.1.10``.
NOWHERE = "nowhere.test"
_REFUSALS, _REFUSALS_WITHIN = 3, 600.0

_OK = reply_of(250, ["2.0.0 OK <1@model.test> [Hostname=MODEL.PROD.OUTLOOK.COM]"], Phase.DOT)
_WORDS = {
    "concurrency": (432, "4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending"),
    "rate": (451, "4.7.0 Message rate limit exceeded, try again later"),
    "day": (554, "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"),
    "send-as": (554, "5.2.252 SendAsDenied; noreply@contoso.test not allowed to send as somebody else"),
    "too-many-recipients": (550, "5.5.3 RESOLVER.ADR.RecipLimit; too many recipients"),
    "invalid-recipients": (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    "throttled-send-as": (550, "5.2.252 Sender throttled due to continuous send as denied errors."),
    "throttled-too-many-recipients": (550, "5.2.254 Sender throttled due to continuous too many recipients errors."),
    "throttled-invalid-recipients": (550, "5.2.255 Sender throttled due to continuous invalid recipients errors."),
}
#: What must never be heard: replies by which Exchange slows or blocks a mailbox.
THROTTLES = frozenset(name for name in _WORDS if name in ("concurrency", "rate", "day") or name.startswith("throttled"))


@dataclass(eq=False, slots=True)
class Seen:
    """A transaction as seen from here: seconds of the loop. ``verdict`` None: cut before its dot; ``ok``: taken."""

    began: float
    subject: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    dotted: float | None = None
    ended: float | None = None
    verdict: str | None = None
    taken: int = 0
    was_cut: bool = False


@dataclass(eq=False, slots=True)
class Account:
    """A mailbox there. ``grants``: what it may send as besides itself (patterns); times in seconds."""

    address: str
    grants: tuple[str, ...] = ()
    per_minute: int = 30
    per_day: int = 10_000
    sessions: int = 3
    recipients: int = 500
    flight: float = 0.2
    work: float = 0.35
    diary: list[Seen] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    refusals: dict[str, list[float]] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    most_sessions: int = 0
    # Replies to the dot that were ordered: the next transactions get them.
    ordered: list[tuple[int, str]] = field(default_factory=list)

    def judge(self, seen: Seen, session: int, now: float) -> str:
        """Return the verdict on a transaction at its dot."""
        if session in sorted(self.open)[self.sessions :]:
            return "concurrency"
        for family in sorted(self.blocked):
            return f"throttled-{family}"
        if seen.sender != self.address and not any(fnmatchcase(seen.sender, each) for each in self.grants):
            return self._strike("send-as", now)
        if len(seen.recipients) > self.recipients:
            return self._strike("too-many-recipients", now)
        if seen.taken < len(seen.recipients):
            self._strike("invalid-recipients", now)
        if not seen.taken:
            return "invalid-recipients"
        recent = self.diary[-4 * self.per_minute :]
        counts = (
            sum(now - MINUTE < each.began for each in recent),
            sum(each.dotted is not None and now - MINUTE < each.dotted for each in recent),
            sum(each.dotted is not None and each.dotted // MINUTE == now // MINUTE for each in recent),
        )
        if max(counts) > self.per_minute:
            return "rate"
        if self.day_used(now) + seen.taken > self.per_day:
            return "day"
        return "ok"

    def day_used(self, now: float) -> int:
        """Return how many recipients were taken within the last 24 hours."""
        used = 0
        for each in reversed(self.diary):
            if each.began < now - DAY - 600.0:
                break
            if each.verdict == "ok" and each.ended is not None and each.ended > now - DAY:
                used += each.taken
        return used

    def _strike(self, family: str, now: float) -> str:
        recent = [at for at in self.refusals.get(family, ()) if at > now - _REFUSALS_WITHIN]
        self.refusals[family] = [*recent, now]
        if len(recent) >= _REFUSALS:
            self.blocked.add(family)
        return family


class ModelExchange:
    """The next hop. ``time`` is the loop's; ``chance`` decides what becomes of a cut transaction."""

    def __init__(self, *accounts: Account, seed: int = 7) -> None:
        self.accounts = {account.address: account for account in accounts}
        self.chance = random.Random(seed)
        self.time: Callable[[], float] = asyncio.get_running_loop().time
        self._last_session = 0

    def line(self, address: str) -> Line:
        """Return the sessions that a relay may have of a mailbox."""
        return Line(self, self.accounts[address])

    def verdicts(self) -> set[str]:
        """Return every kind of verdict that was given."""
        return {
            each.verdict for account in self.accounts.values() for each in account.diary if each.verdict is not None
        }

    def next_session(self) -> int:
        self._last_session += 1
        return self._last_session


class Line:
    """``delivery.transport.Sessions`` of one mailbox: opened on demand, kept warm, cut by ``abort``."""

    features = None

    def __init__(self, exchange: ModelExchange, account: Account) -> None:
        self.limit = account.sessions
        self.opened = 0
        self.trouble: Exception | None = None  # raised instead of opening a session
        self._exchange = exchange
        self._account = account
        self._idle: list[int] = []
        self._lent: set[int] = set()
        self._is_cut = False

    @property
    def open(self) -> int:
        return len(self._idle) + len(self._lent)

    @property
    def busy(self) -> int:
        return len(self._lent)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Talk]:
        session = self._idle.pop() if self._idle else await self._enter()
        self._lent.add(session)
        try:
            yield Talk(self._exchange, self._account, session)
        finally:
            self._lent.discard(session)
            if self._is_cut:
                self._leave(session)
            else:
                self._idle.append(session)

    async def _enter(self) -> int:
        await asyncio.sleep(0.4)
        if self.trouble is not None:
            raise self.trouble
        session = self._exchange.next_session()
        self._account.open.add(session)
        self._account.most_sessions = max(self._account.most_sessions, len(self._account.open))
        self.opened += 1
        return session

    def _leave(self, session: int) -> None:
        self._account.open.discard(session)

    async def tend(self) -> None: ...

    async def close(self, timeout: float) -> None:
        self.abort()

    def abort(self) -> None:
        self._is_cut = True
        for session in self._idle:
            self._leave(session)
        self._idle.clear()


class Talk:
    """One session, lent for one transaction."""

    def __init__(self, exchange: ModelExchange, account: Account, session: int) -> None:
        self._exchange = exchange
        self._account = account
        self._session = session

    async def submit(self, envelope: Envelope, content: Content, hand_over: HandOver) -> Replies:
        account, time = self._account, self._exchange.time
        seen = Seen(time(), recipients=tuple(each.strip("<>") for each in envelope.recipients))
        account.diary.append(seen)
        mail = Reply(250, "2.1.0", "Sender OK", Phase.MAIL)
        try:
            head = b"".join([chunk async for chunk in content.chunks()])
            fields = BytesHeaderParser().parsebytes(head)
            seen.subject, seen.sender = fields["Subject"] or "", fields["From"].rpartition("<")[2].rstrip(">")
            await asyncio.sleep(account.flight)
            if not await hand_over():
                return Replies(Fate.WITHHELD, mail, (), None, None)
            recipients = tuple(self._rcpt(each) for each in seen.recipients)
            seen.taken = sum(each.is_positive for each in recipients)
            seen.dotted = time()
            await asyncio.sleep(account.work * self._exchange.chance.uniform(0.8, 1.2))
        except asyncio.CancelledError:
            seen.was_cut = True
            if seen.dotted is not None and self._exchange.chance.random() < 0.5:
                self._judge(seen)
            raise
        finally:
            seen.ended = time()
        dot = self._judge(seen)
        if not seen.taken and len(seen.recipients) == 1:
            # One alone is refused at the dot, as Exchange was inferred to do; of several, each at its RCPT.
            recipients = tuple(Reply(250, "2.1.5", "Recipient OK", Phase.RCPT) for _ in seen.recipients)
        return Replies(Fate.ANSWERED, mail, recipients, Reply(354, None, "Start mail input", Phase.DATA), dot)

    def _rcpt(self, address: str) -> Reply:
        if address.endswith(f"@{NOWHERE}"):
            code, words = _WORDS["invalid-recipients"]
            return reply_of(code, [words], Phase.RCPT)
        return Reply(250, "2.1.5", "Recipient OK", Phase.RCPT)

    def _judge(self, seen: Seen) -> Reply:
        if self._account.ordered:
            code, words = self._account.ordered.pop(0)
            seen.verdict = "ordered"
            seen.taken = 0
            return reply_of(code, [words], Phase.DOT)
        seen.verdict = self._account.judge(seen, self._session, self._exchange.time())
        if seen.verdict == "ok":
            return _OK
        seen.taken = 0
        code, words = _WORDS[seen.verdict]
        return reply_of(code, [words], Phase.DOT)
