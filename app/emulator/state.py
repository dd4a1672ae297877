"""What the sessions and the HTTP side share: everything the emulator knows, in one place. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.emulator.accounts import Accounts
from app.emulator.clock import MovableClock
from app.emulator.counters import Counters
from app.emulator.exchange import Exchange
from app.emulator.faults import FaultBook, Phase
from app.emulator.inbox import Inbox
from app.emulator.tls import Authority
from app.emulator.tokens import Tokens
from app.emulator.transcript import Transcript

MAXIMUM_SIZE = 157_286_400  # what Exchange Online announces, 150 MiB


@dataclass(slots=True, kw_only=True)
class State:
    """The parts; ``latency`` are seconds before each reply of a phase."""

    clock: MovableClock
    accounts: Accounts
    authority: Authority
    exchange: Exchange
    faults: FaultBook
    inbox: Inbox
    tokens: Tokens
    transcript: Transcript
    counters: Counters = field(default_factory=Counters)
    latency: dict[Phase, float] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget messages, transcript, faults, counts and throttles; accounts, apps, sessions and the clock stay."""
        self.inbox.clear()
        self.transcript.clear()
        self.faults.clear()
        self.tokens.faults.clear()
        self.exchange.reset()
        self.counters.reset()
        self.latency.clear()
