"""The doors in a process of their own, so that their memory and their silences can be measured.

Run as a script with a folder; prints ``port key``, tells for each line of its standard input its longest silence since
the last, and serves until that input ends.
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
from typing import IO

from tests.support.memory import Peak, peak_of

ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    """A running service; ``peak()`` is the most memory it has held, in octets, above what it held idle."""

    port: int
    key: str
    pid: int
    pipes: tuple[IO[str], IO[str]]
    memory: Peak

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def silence(self) -> float:
        """Return the longest the service worked without its loop coming round, since the last call, in seconds."""
        ask, answer = self.pipes
        ask.write("\n")
        ask.flush()
        return float(answer.readline())

    def peak(self) -> int:
        return self.memory.read() - self.memory.idle


@contextmanager
def served_apart(folder: Path) -> Iterator[Process]:
    """Run the service apart, and end it."""
    command = [sys.executable, "-m", "tests.support.api_process", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        port, key = process.stdout.readline().split()
        memory = peak_of(process.pid, anew=False)
        yield Process(int(port), key, process.pid, (process.stdin, process.stdout), memory)
        process.stdin.close()


class Probing:
    """Asks ``/livez`` again and again while this is running; ``answered`` counts."""

    def __init__(self, process: Process) -> None:
        self._port = process.port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0

    def __enter__(self) -> Probing:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port)) as connection:
            while not self._stop.wait(0.003):
                connection.request("GET", "/livez")
                assert connection.getresponse().read()
                self.answered += 1


def post_plainly(process: Process, body: bytes) -> int:
    """Post a JSON body by the plainest of clients, which leaves the machine to the service; returns the status."""
    headers = {"authorization": f"Bearer {process.key}", "content-type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", process.port)) as connection:
        connection.request("POST", "/v1/messages", body, headers)
        return connection.getresponse().status


class _Pulse:
    """The longest its process has worked without the loop coming round, in seconds.

    Counted on the process's own CPU clock, all threads: a thread that keeps the interpreter counts, a machine that is
    busy with somebody else does not.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(0.003)
            self.longest = max(self.longest, time.process_time() - before)


async def _serve(folder: Path) -> None:
    from app.kit.clock import SystemClock
    from tests.support.api_world import open_world, serving

    pulse = _Pulse()
    beating = asyncio.create_task(pulse.run())
    async with open_world(folder, SystemClock()) as world, serving(world.app) as (_, port):
        print(port, world.key.text, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(pulse.longest, flush=True)
            pulse.longest = 0.0
    beating.cancel()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(Path(sys.argv[1])))
