"""Both ways to see a peak see it, and neither forgets it when the memory is given back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.memory import Peak, WatchedPeak, peak_of

MIB = 1024 * 1024
PROGRAM = """
import mmap, sys, time
print("ready", flush=True)
sys.stdin.readline()
held = mmap.mmap(-1, 64 * 1024 * 1024)
held.write(b"x" * len(held))
time.sleep(0.1)
held.close()
print("given back", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("watch", [peak_of, WatchedPeak])
def test_a_peak_is_seen_and_kept(watch: Callable[[int], Peak]) -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        peak = watch(process.pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "given back\n"
        assert peak.read() - peak.idle > 60 * MIB
        process.stdin.close()
