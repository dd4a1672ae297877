"""``postroom`` with a wall clock that a test moves: by the seconds in the file ``wall-clock`` in the current folder.

Everything else is the product; it reads no other clock than the one that is exchanged here (app/kit/clock.py). Run as a
program, with the arguments of ``postroom``.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import app.main
from app.cli import main
from app.kit.clock import SystemClock

OFFSET = "wall-clock"


class JumpingClock(SystemClock):
    """The machine's clocks, the wall clock moved by what the file says at each look."""

    def now(self) -> datetime:
        moved = 0.0
        with suppress(FileNotFoundError):
            moved = float(Path(OFFSET).read_text())
        return super().now() + timedelta(seconds=moved)


if __name__ == "__main__":
    app.main.SystemClock = JumpingClock
    main()
