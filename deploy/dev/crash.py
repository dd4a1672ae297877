"""Proves on this machine that no accepted message is lost, whatever kills the service; takes minutes.

``crash.py`` kills a working service 500 times, at every named point of a message's journey and at random moments, and
prints a table; then it restarts one with a full queue 20 times in two minutes and counts what the server saw. Exits 1
when a promise was broken. ``--kills`` and ``--restarts`` change the numbers, 0 leaves one out; ``--seed`` chooses the
same moments as an earlier run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.crash import killing, pacing


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--restarts", type=int, default=20, help="restarts within two minutes")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311 - chooses moments
    asked = parser.parse_args()
    say = partial(print, flush=True)
    faults: list[str] = []
    if asked.kills:
        say(f"{asked.kills} kills, seed {asked.seed}")
        with tempfile.TemporaryDirectory() as folder:
            found = killing.run(Path(folder), asked.kills, asked.seed, say)
        say(found.table())
        faults += found.faults
    if asked.restarts:
        say(f"{asked.restarts} restarts in 120 s, seed {asked.seed}")
        with tempfile.TemporaryDirectory() as folder:
            seen = pacing.run(Path(folder), asked.restarts, 120.0, asked.seed, say)
        say(seen.table())
        faults += seen.faults()
    for fault in faults:
        say(f"FAULT: {fault}")
    say("every promise was kept" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
