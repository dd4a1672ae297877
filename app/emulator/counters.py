"""Counts what a test wants to know afterwards: sessions, transactions, refusals, and the peaks of each login."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

MINUTE = 60.0


@dataclass(slots=True)
class LoginCounters:
    """What one login did. The peaks of a minute are taken over every span of 60 seconds, not over clock minutes."""

    sessions_open: int = 0
    max_sessions_open: int = 0
    sign_ins: int = 0
    transactions: int = 0
    accepted: int = 0
    recipients_accepted: int = 0
    max_accepted_per_minute: int = 0
    max_transactions_per_minute: int = 0
    _accepted_at: deque[float] = field(default_factory=deque, repr=False)
    _transactions_at: deque[float] = field(default_factory=deque, repr=False)

    def note_transaction(self, now: float) -> None:
        """Count a transaction that begins; ``now`` in seconds of a clock that never jumps."""
        self.transactions += 1
        peak = _in_a_minute(self._transactions_at, now)
        self.max_transactions_per_minute = max(self.max_transactions_per_minute, peak)

    def note_accepted(self, now: float, recipients: int) -> None:
        """Count a message that was taken."""
        self.accepted += 1
        self.recipients_accepted += recipients
        self.max_accepted_per_minute = max(self.max_accepted_per_minute, _in_a_minute(self._accepted_at, now))

    def as_dict(self) -> dict[str, int]:
        """Return the figures by name."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


def _in_a_minute(moments: deque[float], now: float) -> int:
    moments.append(now)
    while now - moments[0] >= MINUTE:
        moments.popleft()
    return len(moments)


@dataclass(slots=True)
class Counters:
    """What happened since the start or the last reset.

    ``plaintext_credential_octets``: octets that looked like credentials and came without TLS. ``limits`` counts the
    refusals by Exchange's own limits: ``concurrency rate quota throttled send-as size recipients``.
    """

    sessions_opened: int = 0
    sessions_open: int = 0
    max_sessions_open: int = 0
    sessions_refused: int = 0
    handshakes_failed: int = 0
    auth_ok: int = 0
    auth_failed: int = 0
    plaintext_credential_octets: int = 0
    transactions: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    logins: dict[str, LoginCounters] = field(default_factory=dict)
    token_requests: int = 0
    token_results: Counter[str] = field(default_factory=Counter)

    def login(self, address: str) -> LoginCounters:
        """Return the counters of a login, by its canonical address."""
        return self.logins.setdefault(address, LoginCounters())

    def opened(self) -> None:
        """Count a session that opens."""
        self.sessions_opened += 1
        self.sessions_open += 1
        self.max_sessions_open = max(self.max_sessions_open, self.sessions_open)

    def signed_in(self, address: str) -> None:
        """Count a sign-in that succeeded."""
        self.auth_ok += 1
        counters = self.login(address)
        counters.sign_ins += 1
        counters.sessions_open += 1
        counters.max_sessions_open = max(counters.max_sessions_open, counters.sessions_open)

    def refuse(self, reply: str) -> None:
        """Count a refusal at MAIL, RCPT, DATA or the dot by its reply code."""
        self.refused[reply[:3]] += 1

    def reset(self) -> None:
        """Count from nothing again, but for the sessions that are open."""
        fresh = Counters(sessions_open=self.sessions_open, max_sessions_open=self.sessions_open)
        for address, counters in self.logins.items():
            if counters.sessions_open:
                still_open = counters.sessions_open
                fresh.logins[address] = LoginCounters(sessions_open=still_open, max_sessions_open=still_open)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "logins"}
        return {**plain, "logins": {address: counters.as_dict() for address, counters in self.logins.items()}}
