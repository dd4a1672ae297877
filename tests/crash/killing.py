"""Kills a working service again and again, at every named point of a message's journey and at random moments.

Real processes: ``postroom serve --dev``, ``postroom emulator`` without limits, callers who post all the time. Each kill
at a point is made by the service itself (``POSTROOM_FAILPOINTS``); a point that is not reached is a fault. At the end
the service runs undisturbed until every message is done or held, and all is judged.
"""

from __future__ import annotations

import email
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.kit.failpoints import POINTS
from tests.crash.judging import Arrival, Tally, tally
from tests.crash.letters import POLICIES, Book
from tests.crash.load import Callers
from tests.support.processes import EmulatorProcess, ServiceProcess
from tests.support.waiting import ended

RANDOM = "random moment"
# Longest pass at which a point strikes: far enough to strike in the middle of the load, near enough to be soon.
_DEEPEST = 15
# A kill at a random moment comes at most so long after the start, which itself takes about a second.
_LONGEST_LIFE = 2.2
_POINT_PATIENCE = 30.0
# Taken from the emulator, which keeps 10,000, when so many have come.
_HARVEST = 3_000


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: at the ``nth`` pass of a point, or (RANDOM) ``seconds`` after the start."""

    point: str
    nth: int
    seconds: float


def plan(number: int, chance: random.Random) -> Iterator[Kill]:
    """Yield ``number`` kills in random order: every point as often as any other, and one in two at a random moment."""
    points = [POINTS[each // 2 % len(POINTS)] if each % 2 else RANDOM for each in range(number)]
    chance.shuffle(points)
    for point in points:
        yield Kill(point, chance.randint(1, _DEEPEST), chance.uniform(0.2, _LONGEST_LIFE))


class Harvest:
    """What arrived at the emulator, taken out of it before it has to forget."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self._emulator = emulator
        self.arrivals: list[Arrival] = []

    def gather(self, least: int = 1) -> None:
        """Take what has come, if it is ``least`` messages. Call while nobody sends."""
        if self._emulator.counters()["accepted"] - len(self.arrivals) < least:
            return
        while True:
            listed = self._emulator.messages()
            found = [self._arrival(each) for each in listed if each["accepted"]]
            if len(self._emulator.messages()) == len(listed):
                break  # nothing came meanwhile
        self._emulator.forget()
        self.arrivals += found

    def _arrival(self, described: dict[str, Any]) -> Arrival:
        octets = self._emulator.get(described["raw"]).content
        head = email.message_from_bytes(octets)
        return Arrival(head["Message-ID"], head["Date"], octets)


def run(folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda _line: None) -> Tally:
    """Do it all in an empty folder; return what was found. ``say`` hears of the progress."""
    chance = random.Random(seed)
    made: Counter[str] = Counter(dict.fromkeys((*POINTS, RANDOM, "the end"), 0))
    with EmulatorProcess(folder, sessions=0, messages_per_minute=0, recipients_per_day=0) as emulator:
        # A reply that takes a moment, as a real one does: else no kill would fall between the dot and its reply.
        emulator.slow_down(dot=0.02)
        tenants = {policy: f'on_unknown = "{policy}"' for policy in POLICIES}
        retry = '[delivery]\nretry = ["1s"]'
        service = ServiceProcess(folder, emulator.port, emulator.ca_pem, emulator.PASSWORD, tenants=tenants, top=retry)
        book, harvest = Book(), Harvest(emulator)
        try:
            with Callers(service, book, seed):
                for number, kill in enumerate(plan(kills, chance), 1):
                    book.point = kill.point
                    if problem := _strike(service, kill):
                        book.complain(problem)
                    else:
                        made[kill.point] += 1
                    if number % 10 == 0:
                        time.sleep(0.1)  # what the dead had written before is read to its end
                        harvest.gather(_HARVEST)
                        say(f"{number} kills, {len(book.letters)} letters, {len(book.faults)} faults")
                book.point = "the end"
                service.start()
            views, kept = _ended(service, book)
            exit_code = service.terminate()
        finally:
            service.__exit__()
        harvest.gather()
    result = tally(made, book.letters, views, harvest.arrivals)
    result.faults = book.faults + result.faults
    if exit_code != 0:
        result.faults.append(f"the last stop ended with {exit_code}")
    if kept != len(book.letters):
        result.faults.append(f"{len(book.letters)} keys made {kept} messages")
    say(f"{book.repeats} repeats of accepted letters were answered with the first answer")
    return result


def _strike(service: ServiceProcess, kill: Kill) -> str | None:
    """Start the service and let it be killed; return what went wrong."""
    if kill.point == RANDOM:
        service.launch()
        time.sleep(kill.seconds)
        code = service.exit_code
        service.kill()
        return f"it ended by itself with {code}: {service.log()[-500:]}" if code is not None else None
    service.launch({"POSTROOM_FAILPOINTS": f"{kill.point}:{kill.nth}"})
    until = time.monotonic() + _POINT_PATIENCE
    while service.exit_code is None and time.monotonic() < until:
        time.sleep(0.01)
    code = service.exit_code
    if code is None:
        service.kill()
        return f"{kill.point}:{kill.nth} was not reached within {_POINT_PATIENCE} s of load"
    if code != -signal.SIGKILL:
        return f"it ended with {code} on its way to {kill.point}: {service.log()[-500:]}"
    return None


def _ended(service: ServiceProcess, book: Book, seconds: float = 120) -> tuple[dict[int, Any], int]:
    """Wait until every message is at its end; return what GET tells of each, and how many messages the store has."""
    until = time.monotonic() + seconds
    views: dict[int, Any] = {}
    kept = 0
    for policy in POLICIES:
        with service.client(policy) as client:
            for letter in book.letters:
                if letter.policy == policy and letter.id is not None:
                    views[letter.number] = _view(client, letter.id, until - time.monotonic())
            kept += sum(1 for _ in _listed(client))
    return views, kept


def _view(client: httpx.Client, id_: str, seconds: float) -> dict[str, Any] | None:
    try:
        return ended(client, id_, seconds)
    except httpx.HTTPStatusError as problem:
        if problem.response.status_code == 404:
            return None
        raise


def _listed(client: httpx.Client) -> Iterator[Any]:
    after = ""
    while True:
        page = client.get("/v1/messages", params={"limit": 100, **({"after": after} if after else {})}).json()
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["next_cursor"]
