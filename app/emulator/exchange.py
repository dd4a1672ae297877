"""What Exchange Online allows a mailbox, and what it answers when that is too much.

Judges a message at the end of its DATA, as Exchange does. Counts and thresholds that Microsoft does not publish are
settings, with stricter defaults than reports suggest. Holds the memory of each mailbox; time comes from the clock.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field, fields
from typing import Literal

from app.emulator.accounts import Account
from app.emulator.catalogue import send_as_denied, wording
from app.emulator.replies import BACK, TOO_LARGE
from app.kit.clock import Clock

MINUTE = 60.0
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of every mailbox and session; 0 means none. Times in seconds, sizes in octets.

    ``window``: messages a minute are counted over any 60 seconds, or by clock minutes. ``over_rate``: what is over is
    refused with ``rate_reply``, or its reply is delayed until the window has room; Microsoft's pages say both.
    ``throttle_after`` failures of one family within ``throttle_within`` block the mailbox for ``throttle_for``.
    """

    sessions: int = 3
    messages_per_minute: int = 30
    window: Literal["rolling", "calendar"] = "rolling"
    over_rate: Literal["refuse", "delay"] = "refuse"
    rate_reply: str = f"451 4.7.0 Message rate limit exceeded, try again later [Hostname={BACK}]"
    recipients_per_day: int = 10_000
    recipients_per_message: int = 500
    message_size: int = 35 * 1024 * 1024
    throttle_after: int = 5
    throttle_within: float = 600.0
    throttle_for: float = 3600.0
    idle: float = 300.0
    age: float = 600.0
    auth_failure_delay: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and (isinstance(value, bool) or not 0 <= value < float("inf")):
                raise ValueError(f"{each.name} is 0 (none) or more, not {value!r}")
        if self.window not in ("rolling", "calendar"):
            raise ValueError(f'window is "rolling" or "calendar", not {self.window!r}')
        if self.over_rate not in ("refuse", "delay"):
            raise ValueError(f'over_rate is "refuse" or "delay", not {self.over_rate!r}')


# The families of continuous errors (550 5.2.251 to 5.2.255), by the words of the refusals that count towards them.
_FAMILIES: dict[str, re.Pattern[str]] = {
    "mailbox-full": re.compile(r"mailbox full|Exception:QuotaExceeded", re.IGNORECASE),
    "send-as": re.compile(r"SendAsDenied|5\.7\.60\b", re.IGNORECASE),
    "license": re.compile(r"license", re.IGNORECASE),
    "too-many-recipients": re.compile(r"RecipLimit|too many recipients", re.IGNORECASE),
    "invalid-recipients": re.compile(r"RecipientNotFound|5\.1\.(?:1|3|10)\b", re.IGNORECASE),
}
_THROTTLED = re.compile(r"Sender throttled due to continuous", re.IGNORECASE)


def family_of(reply: str) -> str | None:
    """Return the family of continuous errors that a refusal counts towards, if any."""
    if reply[0] not in "45" or _THROTTLED.search(reply):
        return None
    return next((name for name, pattern in _FAMILIES.items() if pattern.search(reply)), None)


@dataclass(frozen=True, slots=True)
class Submission:
    """A message at its dot, as far as the limits are concerned."""

    account: Account
    login: str
    session: int
    recipients: int
    size: int
    senders: tuple[str, ...]
    has_sender_field: bool
    has_too_large_header: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """``reply`` None: taken, after ``delay`` seconds. ``limit`` names what refused it, for the counters."""

    reply: str | None = None
    limit: str | None = None
    delay: float = 0.0


@dataclass(slots=True)
class _Mailbox:
    """What is remembered of one login."""

    sessions: list[int] = field(default_factory=list)
    accepted: deque[float] = field(default_factory=deque)
    recipients: deque[tuple[float, int]] = field(default_factory=deque)
    recipients_used: int = 0
    failures: dict[str, deque[float]] = field(default_factory=dict)
    throttled_until: dict[str, float] = field(default_factory=dict)


class Exchange:
    """The limits at work; a login is named by its canonical address."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._mailboxes: dict[str, _Mailbox] = {}

    def enter(self, login: str, session: int) -> None:
        """Note a session that has signed in."""
        self._of(login).sessions.append(session)

    def leave(self, login: str, session: int) -> None:
        """Note its end."""
        self._of(login).sessions.remove(session)

    def judge(self, submission: Submission) -> Judgement:
        """Say what Exchange answers at the dot; nothing is noted yet."""
        limits, mailbox = self.limits, self._of(submission.login)
        if limits.sessions and mailbox.sessions.index(submission.session) >= limits.sessions:
            return Judgement(wording("concurrent-connections"), "concurrency")
        now = self._clock.boot()
        for family, until in mailbox.throttled_until.items():
            if now < until:
                return Judgement(wording(f"throttled-{family}"), "throttled")
        refusal = self._content_refusal(submission)
        if refusal is not None:
            return refusal
        self._forget_old(mailbox, now)
        if limits.recipients_per_day and mailbox.recipients_used + submission.recipients > limits.recipients_per_day:
            return Judgement(wording("quota-exceeded"), "quota")
        delay = self._until_room(mailbox, now)
        if delay > 0 and limits.over_rate == "refuse":
            return Judgement(limits.rate_reply, "rate")
        return Judgement(delay=delay)

    def note_accepted(self, login: str, recipients: int) -> None:
        """Count a message that was taken towards the windows."""
        now, mailbox = self._clock.boot(), self._of(login)
        mailbox.accepted.append(now)
        mailbox.recipients.append((now, recipients))
        mailbox.recipients_used += recipients

    def note_refused(self, login: str, reply: str) -> None:
        """Count a refusal, by whatever cause, towards its family of continuous errors."""
        family = family_of(reply)
        if family is None or not self.limits.throttle_after:
            return
        now, mailbox = self._clock.boot(), self._of(login)
        failures = mailbox.failures.setdefault(family, deque())
        failures.append(now)
        while now - failures[0] >= self.limits.throttle_within:
            failures.popleft()
        if len(failures) >= self.limits.throttle_after:
            mailbox.throttled_until[family] = now + self.limits.throttle_for
            failures.clear()

    def reset(self) -> None:
        """Forget what was counted; sessions stay."""
        self._mailboxes = {
            login: _Mailbox(mailbox.sessions) for login, mailbox in self._mailboxes.items() if mailbox.sessions
        }

    def _content_refusal(self, submission: Submission) -> Judgement | None:
        limits = self.limits
        if limits.message_size and submission.size > limits.message_size:
            return Judgement(TOO_LARGE, "size")
        if submission.has_too_large_header:
            return Judgement(wording("header-too-large"), "size")
        if limits.recipients_per_message and submission.recipients > limits.recipients_per_message:
            return Judgement(wording("recipient-limit"), "recipients")
        if not submission.senders:
            return Judgement(wording("not-rfc5322"))
        if len(submission.senders) > 1 and not submission.has_sender_field:
            return Judgement(wording("multiple-from"))
        for sender in submission.senders:
            if not submission.account.may_send_as(submission.login, sender):
                return Judgement(send_as_denied(submission.login, sender), "send-as")
        return None

    def _until_room(self, mailbox: _Mailbox, now: float) -> float:
        """Return the seconds until one message more fits the minute's window."""
        limit = self.limits.messages_per_minute
        if not limit or len(mailbox.accepted) < limit:
            return 0.0
        if self.limits.window == "rolling":
            return mailbox.accepted[-limit] + MINUTE - now
        into_minute = self._clock.now().timestamp() % MINUTE
        used = sum(now - moment <= into_minute for moment in mailbox.accepted)
        return MINUTE - into_minute if used >= limit else 0.0

    @staticmethod
    def _forget_old(mailbox: _Mailbox, now: float) -> None:
        while mailbox.accepted and now - mailbox.accepted[0] >= MINUTE:
            mailbox.accepted.popleft()
        while mailbox.recipients and now - mailbox.recipients[0][0] >= DAY:
            mailbox.recipients_used -= mailbox.recipients.popleft()[1]

    def _of(self, login: str) -> _Mailbox:
        return self._mailboxes.setdefault(login, _Mailbox())
