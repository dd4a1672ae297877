"""One mailbox at work: its sessions, its ledger, and what keeps it from working.

A desk knows when it may take a message and when to look again; it never chooses one. It is parked by authentication
trouble, waits after connection trouble, and works with fewer sessions for a while after a 432.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass, field
from datetime import datetime

from app.delivery.ledger import Budget, Ledger
from app.delivery.transport import Sessions, SignInSource
from app.mail.message import Priority
from app.mail.reply import Reply
from app.mail.senders import Limits
from app.queue.rows import ParkedRow

# After a failed connect: 1, 2, 4 … 60 s, for the mailbox and not for a message.
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
NARROW_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """A mailbox as configured. ``source`` is what it signs in with, which shows a mark and never the secret.

    ``own_domains``: the domains of its connection's mailboxes and of what they may send as; recipients elsewhere are
    external to Exchange. ``sender_key``: the only From it carries, where a wildcard signs in as that address.
    """

    name: str
    address: str
    connection: str
    sign_in: str
    limits: Limits
    own_domains: frozenset[str]
    source: SignInSource = field(repr=False)
    username: str = field(default="", repr=False)
    sender_key: str | None = None

    @property
    def configured(self) -> str:
        """The name in the configuration: a wildcard's for each mailbox that it signs in as."""
        return self.name.partition("/")[0]

    def fingerprint(self, key: bytes) -> str:
        """Return the keyed fingerprint of the credential: tells a changed one, tells nothing else."""
        return hmac.digest(key, self.username.encode() + b"\0" + self.source.mark, "sha256").hex()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A connection that cannot be had: the bounded reason, a sentence, and when it is tried again (boot seconds)."""

    reason: str
    text: str
    retry_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last refusal that a server gave this mailbox."""

    at: datetime
    reply: Reply | None
    cause: str | None
    cure: str | None


class Desk:
    """One mailbox at work; instants without a date are ``Clock.boot`` seconds.

    ``umbrella`` is the desk of the wildcard that this mailbox belongs to: whatever stops that one stops this one.
    """

    def __init__(self, spec: MailboxSpec, sessions: Sessions, ledger: Ledger, umbrella: Desk | None = None) -> None:
        self.spec = spec
        self.sessions = sessions
        self.ledger = ledger
        self.umbrella = umbrella
        self.parked: ParkedRow | None = None
        self.trouble: Trouble | None = None
        self.workers = 0  # tasks that hold or seek a session
        self.seeking = 0  # those of them that have not found a message yet
        self.urgent_granted = False
        self.last_used = 0.0
        self.is_token_good = False  # of a wildcard: what its token is worth, one of its mailboxes has shown
        self.last_success_at: datetime | None = None
        self.last_refusal: Refusal | None = None
        self.external_full_until = -math.inf  # till then no external recipient is taken
        self.seconds_each = 0.5  # how long a transaction takes, as a moving average
        self._failures = 0
        self._opened_at_failure = 0
        self._opened_at_doubt: int | None = None
        self._narrowed: list[float] = []  # until when each narrowing lasts

    def __repr__(self) -> str:
        state = "parked" if self.parked else f"trouble {self.trouble.reason}" if self.trouble else "ok"
        return f"<Desk {self.spec.name} {state}, {self.sessions.busy} busy, {self.sessions.open} open, {self.ledger!r}>"

    # -- may it work?

    def state(self) -> str:
        """Return the word for operators: parked, connecting, ok (with sessions open) or idle."""
        if self.standing_still:
            return "parked"
        if self.trouble:
            return "connecting"
        return "ok" if self.sessions.open else "idle"

    @property
    def standing_still(self) -> ParkedRow | None:
        """Why it is parked, itself or with its wildcard; None: it is not."""
        return self.parked or (self.umbrella.parked if self.umbrella is not None else None)

    def is_available(self) -> bool:
        """Whether it can be reckoned with: not parked, and either no connection trouble or sessions that stand."""
        return self.standing_still is None and (self.trouble is None or self.sessions.open > 0)

    def may_lend(self, now: float) -> bool:
        """Whether a session may be asked for: one stands idle, or one may be opened now."""
        if self.standing_still:
            return False
        return self.trouble is None or self.trouble.retry_at <= now or self.sessions.open > self.sessions.busy

    def blocked_for(self, now: float) -> float:
        """Return for how many seconds nothing may be tried (0: now; inf: until somebody acts)."""
        if self.standing_still:
            return math.inf
        return max(0.0, self.trouble.retry_at - now) if self.trouble else 0.0

    def session_limit(self, now: float) -> int:
        """Return how many sessions it may use now."""
        self._narrowed = [until for until in self._narrowed if until > now]
        return max(1, self.spec.limits.sessions - len(self._narrowed))

    def free_sessions(self, now: float, priority: Priority) -> int:
        """Return how many more workers a class may have; one session of several is kept for urgent mail."""
        limit = self.session_limit(now)
        if self.trouble or self._is_doubted():
            limit = max(1, self.sessions.open)  # one knocks until the door opens; those inside go on
        elif self.urgent_granted and limit > 1 and priority is not Priority.URGENT:
            limit -= 1
        return max(0, limit - self.workers)

    def may_begin(self, now: float, priority: Priority) -> bool:
        """Whether a session may take up mail of a class: the one kept for urgent mail goes on with nothing else."""
        if priority is Priority.URGENT or not self.urgent_granted:
            return True
        limit = self.session_limit(now)
        return limit < 2 or self.ledger.ordinary_running() < limit - 1

    def is_external_full(self, now: float) -> bool:
        """Whether Exchange takes no external recipient for the moment."""
        return self.external_full_until > now

    def reserve(self) -> int:
        """Return what of a minute is kept for urgent mail: a sixth, where a tenant was granted it."""
        return self.spec.limits.messages_per_minute // 6 if self.urgent_granted else 0

    # -- what happens to it

    def reconfigure(self, spec: MailboxSpec, budget: Budget, now: float) -> None:
        """Go on with another configuration of the same mailbox; what was used of its windows stays used."""
        self.spec = spec
        self.ledger.go_on_with(budget)
        self.widen(now)

    def lent(self) -> None:
        """Keep that a session was lent; a newly opened one ends the trouble of the connection."""
        if self.umbrella is not None:
            self.umbrella.is_token_good = True
        if self.trouble and self.sessions.opened > self._opened_at_failure:
            self.connected()

    def connected(self) -> None:
        """Forget the trouble of the connection: it works, or is to be tried at once."""
        self.trouble = None
        self._failures = 0

    def failed(self, reason: str, text: str, now: float, retry_after: float | None) -> Trouble:
        """Keep that no session could be had, and when to try again."""
        wait = (
            retry_after if retry_after is not None else min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._failures, 10))
        )
        self._failures += 1
        self._opened_at_failure = self.sessions.opened
        self.trouble = Trouble(reason, text, now + wait)
        return self.trouble

    def is_live(self) -> bool:
        """Whether it has sessions, or somebody who seeks one."""
        return self.workers > 0 or self.sessions.open > 0

    def is_proven(self, now: float) -> bool:
        """Whether a sign-in has succeeded since the start (or the last doubt), or mail went within the day."""
        if self._opened_at_doubt is not None:
            return not self._is_doubted()
        return self.sessions.opened > 0 or self.ledger.day_used(now) > 0

    def doubt(self) -> None:
        """Trust no earlier success any more: the next sign-in may be refused."""
        self._opened_at_doubt = self.sessions.opened

    def _is_doubted(self) -> bool:
        return self._opened_at_doubt is not None and self.sessions.opened <= self._opened_at_doubt

    def is_forgettable(self, now: float) -> bool:
        """Whether nothing would be lost with it: a wildcard's mailbox that owes no window and is not parked."""
        is_idle = self.umbrella is not None and self.parked is None and not self.is_live()
        return is_idle and not self.ledger.minute_used(now) and not self.ledger.day_used(now)

    def rest(self) -> None:
        """Close its idle sessions to make way for others."""
        limit, self.sessions.limit = self.sessions.limit, 0
        self.sessions.limit = limit

    def took(self, seconds: float, now: float) -> None:
        """Keep how long a transaction took."""
        self.last_used = now
        self.seconds_each += (seconds - self.seconds_each) / 8

    def narrow(self, now: float) -> None:
        """Work with one session less for ten minutes (432: others use the mailbox too)."""
        self._narrowed.append(now + NARROW_SECONDS)
        self.sessions.limit = self.session_limit(now)

    def widen(self, now: float) -> None:
        """Use as many sessions as it may now: some more where a narrowing has passed."""
        limit = self.session_limit(now)
        if self.sessions.limit != limit:
            self.sessions.limit = limit
