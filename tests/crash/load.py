"""Callers that post all the time and do what good callers do: repeat with the same Idempotency-Key until a 202 comes.

They do not know that the service is being killed. Now and then one repeats a letter that was accepted long ago.
"""

from __future__ import annotations

import random
import threading
import time
from types import TracebackType

import httpx

from tests.crash.letters import Book, Letter
from tests.support.processes import SENDER, ServiceProcess, plain_client

# Seconds a caller thinks between two letters, and waits before it repeats one.
_THINKS = 0.03
_WAITS = 0.05
# One in so many posts repeats an earlier letter.
_REPEATS = 12
# Some content streams through several chunks, some fits into one packet.
_SIZES = (50, 50, 50, 3_000, 90_000)


class Callers:
    """``with Callers(...):`` posts; leaving waits until every letter that was begun has its 202."""

    def __init__(self, service: ServiceProcess, book: Book, seed: int, number: int = 4) -> None:
        self._service = service
        self._book = book
        self._leaving = threading.Event()
        self._given_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(seed * 100 + each),), name=f"caller {each}")
            for each in range(number)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._leaving.set()
        if kind is not None:
            self._given_up.set()
        until = time.monotonic() + 60
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._given_up.set()
        for thread in self._threads:
            thread.join()

    def _work(self, chance: random.Random) -> None:
        mine: list[Letter] = []
        with plain_client(base_url=self._service.base, timeout=20) as client:
            while not self._leaving.wait(chance.random() * 2 * _THINKS):
                is_repeat = bool(mine) and chance.randrange(_REPEATS) == 0
                letter = chance.choice(mine) if is_repeat else self._book.begin()
                while not self._given_up.is_set() and not self._post(client, letter):
                    time.sleep(_WAITS)
                if not is_repeat:
                    mine.append(letter)

    def _post(self, client: httpx.Client, letter: Letter) -> bool:
        """Post a letter; whether its answer has come."""
        size = _SIZES[letter.number % len(_SIZES)]
        body = {
            "from": SENDER,
            "to": f"r{letter.number}@customer.test",
            "subject": letter.key,
            "text": f"{letter.key}\n" + "all work and no play\n" * (size // 20),
        }
        headers = {
            "Authorization": f"Bearer {self._service.keys[letter.policy]}",
            "Idempotency-Key": letter.key,
        }
        try:
            answer = client.post("/v1/messages", json=body, headers=headers)
        except httpx.HTTPError:
            return False  # nobody knows whether it was accepted: it is posted again
        if answer.status_code == 202:
            self._book.tell(letter, answer.json()["id"])
            return True
        if answer.status_code != 503:
            self._book.complain(f"{letter.key} was answered {answer.status_code}: {answer.text[:200]}")
            return True
        return False
