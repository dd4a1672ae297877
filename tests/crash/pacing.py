"""Restarts a service with a full queue again and again, and counts what the server sees: never too much, never nothing.

The server is ``postroom emulator`` with the limits of Exchange Online; it counts by itself, and refuses what is too
much, which would show as a refusal. Every other restart is a kill -9, the others are told to stop by SIGTERM.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.processes import SENDER, EmulatorProcess, ServiceProcess

MESSAGES_A_MINUTE = 30
SESSIONS = 3
# Mail may stand still until the window has passed: its length, 5 s behind a transaction cut, and the restart itself.
_LONGEST_PAUSE = 70.0
# More than may go while a story lasts.
_QUEUE = 120


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw; ``moments`` are those of the messages it took, in seconds from the first start."""

    restarts: int
    seconds: float
    moments: tuple[float, ...]
    counters: dict[str, Any]

    @property
    def most_in_a_minute(self) -> int:
        """The most messages in any 60 seconds."""
        return most_within(self.moments, 60.0)

    @property
    def most_sessions(self) -> int:
        """The most sessions that were open at once, signed in or not."""
        return int(self.counters["max_sessions_open"])

    def faults(self) -> list[str]:
        """Return which promises were broken."""
        faults = []
        if self.most_in_a_minute > MESSAGES_A_MINUTE:
            faults.append(f"{self.most_in_a_minute} messages in 60 s")
        if self.most_sessions > SESSIONS:
            faults.append(f"{self.most_sessions} sessions at once")
        if self.counters["limits"]:
            faults.append(f"the server refused by its limits: {self.counters['limits']}")
        if not self.moments:
            faults.append("nothing was sent at all")
        if (pause := longest_pause((0.0, *self.moments, self.seconds))) > _LONGEST_PAUSE:
            faults.append(f"nothing was sent for {pause:.0f} s")
        return faults

    def table(self) -> str:
        """Return the figures for people."""
        return (
            f"restarts {self.restarts}, seconds {self.seconds:.0f}, accepted {len(self.moments)}, "
            f"most in 60 s {self.most_in_a_minute}, most sessions at once {self.most_sessions}, "
            f"sign-ins {self.counters['auth_ok']}, longest pause "
            f"{longest_pause((0.0, *self.moments, self.seconds)):.1f} s"
        )


def most_within(moments: Sequence[float], seconds: float) -> int:
    """Return the most moments in any span of so many seconds; ``moments`` in order."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def longest_pause(moments: Sequence[float]) -> float:
    """Return the longest time between two neighbours."""
    return max((after - before for before, after in pairwise(moments)), default=0.0)


def run(
    folder: Path, restarts: int, seconds: float, seed: int, say: Callable[[str], None] = lambda _line: None
) -> Seen:
    """Restart so often within so many seconds; return what the server saw."""
    chance = random.Random(seed)
    with EmulatorProcess(folder) as emulator:
        service = ServiceProcess(
            folder,
            emulator.port,
            emulator.ca_pem,
            emulator.PASSWORD,
            connection='profile = "exchange"',
            top='[delivery]\nretry = ["1s"]',
        )
        with service:
            wall, began = time.time(), time.monotonic()
            _fill(service)
            for number in range(1, restarts + 1):
                life = max(0.0, began + seconds * number / restarts - time.monotonic())
                time.sleep(chance.uniform(life / 2, life))
                if number % 2:
                    service.kill()
                else:
                    assert service.terminate() == 0, service.log()[-2000:]
                service.start()
                if number % 5 == 0:
                    say(f"{number} restarts, {emulator.counters()['accepted']} accepted")
            time.sleep(max(0.0, began + seconds - time.monotonic()))
            lasted = time.monotonic() - began
            taken = [each for each in emulator.messages() if each["accepted"]]
            moments = sorted(datetime.fromisoformat(each["at"]).timestamp() - wall for each in taken)
            return Seen(restarts, lasted, tuple(moments), emulator.counters())


def _fill(service: ServiceProcess) -> None:
    with service.client() as client:
        for number in range(_QUEUE):
            letter = {"from": SENDER, "to": f"r{number}@customer.test", "subject": f"{number}", "text": "Hello"}
            answer = client.post("/v1/messages", json=letter)
            assert answer.status_code == 202, answer.text
