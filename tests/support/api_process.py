"""The doors in a process of their own, so that their memory and their silences can be measured.

Run as a script with a folder; prints ``port key`` and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    """A running service; ``peak()`` is the most memory it has held, in octets, above ``idle``."""

    port: int
    key: str
    pid: int
    idle: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def peak(self) -> int:
        return _status(self.pid, "VmHWM") - self.idle


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


@contextmanager
def served_apart(folder: Path) -> Iterator[Process]:
    """Run the service apart, and end it."""
    command = [sys.executable, "-m", "tests.support.api_process", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        port, key = process.stdout.readline().split()
        found = Process(int(port), key, process.pid)
        found.idle = psutil.Process(process.pid).memory_info().rss
        yield found
        process.stdin.close()


class Silence:
    """The longest a probe had to wait for the service while this was running, in seconds of the service's own work.

    Counted on the process's CPU clock (all its threads), not on the wall: whoever else keeps the machine busy does not
    count, what the service does before it answers does.
    """

    def __init__(self, process: Process) -> None:
        self._port = process.port
        # clock_getcpuclockid(3) for another process; Linux's form of the number.
        self._clock = (~process.pid << 3) | 2
        self.answered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest = 0.0

    def __enter__(self) -> Silence:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port)) as connection:
            while not self._stop.wait(0.003):
                before = time.clock_gettime(self._clock)
                connection.request("GET", "/livez")
                connection.getresponse().read()
                self.longest = max(self.longest, time.clock_gettime(self._clock) - before)
                self.answered += 1


def post_plainly(process: Process, body: bytes) -> int:
    """Post a JSON body by the plainest of clients, which leaves the machine to the service; returns the status."""
    headers = {"authorization": f"Bearer {process.key}", "content-type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", process.port)) as connection:
        connection.request("POST", "/v1/messages", body, headers)
        return connection.getresponse().status


async def _serve(folder: Path) -> None:
    from app.kit.clock import SystemClock
    from tests.support.api_world import open_world, serving

    async with open_world(folder, SystemClock()) as world, serving(world.app) as (_, port):
        print(port, world.key.text, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(Path(sys.argv[1])))
