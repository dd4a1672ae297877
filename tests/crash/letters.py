"""What the callers of a crash test know: every letter they posted, and what they were told of it.

A letter belongs to the life of the service in which it was first posted, and so to the kill that ended this life.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

# The policies under test, each a tenant's by the same name.
POLICIES = ("hold", "resend")


@dataclass(slots=True)
class Letter:
    """One letter; ``id`` and ``message_id`` once a 202 has told them."""

    number: int
    policy: str
    point: str
    id: str | None = None

    @property
    def key(self) -> str:
        """Its Idempotency-Key: the same in every try."""
        return f"letter-{self.number}"


@dataclass(slots=True)
class Book:
    """All letters, written by many threads. ``point`` is how the present life of the service is going to end."""

    point: str = "the end"
    letters: list[Letter] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    repeats: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> Letter:
        """Return a new letter; the policies take turns."""
        with self._lock:
            number = len(self.letters)
            letter = Letter(number, POLICIES[number % len(POLICIES)], self.point)
            self.letters.append(letter)
            return letter

    def tell(self, letter: Letter, id_: str) -> None:
        """Note what a 202 said; a second one must say the same."""
        with self._lock:
            if letter.id is None:
                letter.id = id_
            else:
                self.repeats += 1
                if letter.id != id_:
                    self.faults.append(f"{letter.key} was accepted as {letter.id} and again as {id_}")

    def complain(self, fault: str) -> None:
        """Note something that must not happen."""
        with self._lock:
            self.faults.append(fault)
