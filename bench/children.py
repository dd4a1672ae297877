"""Starts the processes of a measurement, each on its core, asks them things, and ends every one of them.

The measured process has core 0 to itself; sink, load and wire share core 1. Where cores cannot be given out (one core,
macOS) nothing is pinned, and the report says so.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
MEASURED, OTHERS = 0, 1
_PATIENCE = 300.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


def can_pin() -> bool:
    """Whether two cores can be given out."""
    return hasattr(os, "sched_setaffinity") and {MEASURED, OTHERS} <= os.sched_getaffinity(0)


def spawn(
    arguments: list[str], core: int, environment: Mapping[str, str] | None = None, **pipes: Any
) -> subprocess.Popen[bytes]:
    """Start a process on a core; no POSTROOM_* of the caller's environment reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    # preexec_fn: threads that the process starts inherit the core, which a later call would not give them.
    return subprocess.Popen(
        arguments, cwd=ROOT, env={**kept, **(environment or {})}, preexec_fn=lambda: _prepare(core), **pipes
    )


def _prepare(core: int) -> None:
    """Give the process that is about to begin its core, and let it end with the measurement, however that ends.

    A service left over from an aborted run would send what it still has to the next run's sinks.
    """
    if can_pin():
        os.sched_setaffinity(0, {core})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """End a process politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class Child:
    """A process that obeys (``bench.lines``); ``told`` is what it said when it was ready."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = spawn(
            [sys.executable, "-m", module, *arguments], OTHERS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.told = self._hear()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self, what: str, **how: Any) -> None:
        """Give an order without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to the oldest order."""
        return self._hear()

    def ask(self, what: str, **how: Any) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        self.tell(what, **how)
        return self._hear()

    def close(self) -> None:
        """End it."""
        end(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _hear(self) -> dict[str, Any]:
        watch = threading.Timer(_PATIENCE, self._process.kill)
        watch.start()
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended or did not answer for {_PATIENCE:g} s")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Usage:
    """What a process has used: CPU seconds (user and system), memory now and at its peak, octets."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._status = Path(f"/proc/{pid}/status")
        self._clear = Path(f"/proc/{pid}/clear_refs")
        self._sampled = 0
        self._sampler: threading.Thread | None = None

    def cpu(self) -> float:
        """Return the CPU seconds used so far by all its threads."""
        times = self._process.cpu_times()
        return times.user + times.system

    def memory(self) -> int:
        """Return the resident memory."""
        return int(self._process.memory_info().rss)

    def begin_peak(self) -> None:
        """Begin to look for the peak of resident memory: the kernel's own mark where there is one, else samples."""
        try:
            self._clear.write_text("5")
        except OSError:
            self._sampled = 0
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()

    def peak(self) -> int:
        """Return the peak since ``begin_peak`` and end looking."""
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            sampler.join()
            return self._sampled
        lines = dict(line.split(":", 1) for line in self._status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024

    def _sample(self) -> None:
        while self._sampler is not None:
            self._sampled = max(self._sampled, self.memory())
            time.sleep(0.002)
