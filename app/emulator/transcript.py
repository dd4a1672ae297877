"""What each client said, line by line: commands, that content came, how the connection began and ended.

Never holds a credential nor content: arguments of AUTH and lines that are no command are shown by their size only.
Bounded; the oldest lines go first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from app.kit.clock import Clock

LINES = 10_000
_WIDTH = 300  # of a line that is kept


@dataclass(frozen=True, slots=True)
class Heard:
    """One line: when, in which session (its number), and what; what is no command stands in angle brackets."""

    at: datetime
    session: int
    what: str


class Transcript:
    """The lines in the order in which they came."""

    def __init__(self, clock: Clock, lines: int = LINES) -> None:
        self._clock = clock
        self._kept: deque[Heard] = deque(maxlen=lines)

    def note(self, session: int, what: str) -> None:
        """Keep what was heard."""
        self._kept.append(Heard(self._clock.now(), session, what[:_WIDTH]))

    def command(self, session: int, line: bytes, *, is_known: bool) -> None:
        """Keep a line as far as it may be shown."""
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not is_known:
            text = f"<a line of {len(line)} octets that is no command>"
        elif text[:5].upper() == "AUTH ":
            mechanism, _, rest = text[5:].partition(" ")
            text = f"AUTH {mechanism}{' <hidden>' if rest else ''}"
        self.note(session, text)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def __iter__(self) -> Iterator[Heard]:
        return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)
