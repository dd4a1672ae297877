"""``python -m bench.run``: measures everything, cases taking turns, prints the table, writes results and plot.

Exit code 0 when every limit holds (a missed goal is told, not punished), 1 when one is crossed or a case failed.
``--quick`` is one short round that shows that everything works; its figures go to ``bench/out`` and mean little.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
import traceback
from collections import defaultdict
from pathlib import Path

from bench import report
from bench.goals import Measure, measures
from bench.machine import describe
from bench.scene import FULL, QUICK, Scene
from bench.subjects import install_nodemailer

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"  # on the checkout's disk: what is kept in memory would be synced for nothing
CASES = ("accept", "delivery", "wire", "latency", "large", "backlog", "history", "pacing")
_SLOW = {"pacing"}


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", action="append", choices=CASES, help="a case; may be given several times")
    parser.add_argument("--rounds", type=int, help="rounds (default 3, with --quick 1)")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    cases = options.only or [name for name in CASES if not (options.quick and name in _SLOW)]
    stores = OUT / "stores"
    shutil.rmtree(stores, ignore_errors=True)
    stores.mkdir(parents=True)
    machine = describe(stores)
    problem = install_nodemailer()
    if problem:
        print(f"nodemailer is left out: {problem}", file=sys.stderr)
    readings: dict[str, list[float]] = defaultdict(list)
    failed: list[str] = []
    try:
        with Scene(stores, QUICK if options.quick else FULL, {"nodemailer": problem} if problem else {}) as scene:
            for number in range(1, rounds + 1):
                for name in cases:
                    _one(scene, name, number, readings, failed)
    finally:
        shutil.rmtree(stores, ignore_errors=True)
    found = measures(readings)
    print(f"\n{report.table(found, readings)}\n")
    is_whole = not options.quick and not options.only
    report.write(HERE if is_whole else OUT, report.results(machine, rounds, found, readings), found)
    return _verdict(found, failed)


def _one(scene: Scene, name: str, number: int, readings: dict[str, list[float]], failed: list[str]) -> None:
    began = time.monotonic()
    try:
        for reading, value in importlib.import_module(f"bench.cases.{name}").run(scene).items():
            readings[reading].append(value)
        said = "done"
    except Exception:
        traceback.print_exc()
        failed.append(name)
        said = "FAILED"
    print(f"round {number}, {name}: {said} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _verdict(found: list[Measure], failed: list[str]) -> int:
    missed = [each.goal.name for each in found if not each.met]
    crossed = [
        each.goal.name
        for each in found
        if each.goal.limit is not None
        and (each.value < each.goal.limit if each.goal.is_least else each.value > each.goal.limit)
    ]
    for words, names in (("goal missed", missed), ("LIMIT CROSSED", crossed), ("CASE FAILED", failed)):
        for name in names:
            print(f"{words}: {name}")
    return 1 if crossed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
