"""What every case finds: sink, load and wire running, a folder on a real disk, and how large it should work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import Child
from bench.subjects import Neighbour, Product, Settings, Subject

MIB = 1024 * 1024
ATTACHMENT = 25 * MIB


@dataclass(frozen=True, slots=True)
class Size:
    """How much a case does: the full measurement, or a short one that shows that everything works."""

    seconds: float  # of one reading
    messages: int  # of one delivery
    waiting: int
    rows: int
    is_full: bool


FULL = Size(seconds=4.0, messages=6000, waiting=100_000, rows=1_000_000, is_full=True)
QUICK = Size(seconds=1.0, messages=600, waiting=5_000, rows=20_000, is_full=False)


class Scene:
    """The processes around what is measured; use as a context manager."""

    def __init__(self, folder: Path, size: Size, missing: dict[str, str]) -> None:
        self.size = size
        self.missing = missing  # neighbours that cannot be measured, with the reason
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.sink = Child("bench.sink", "--ca-out", str(self.ca))
        self.load = Child("bench.load")
        self.other_load = Child("bench.load")
        self.wire = Child("bench.delay", "--to", str(self.sink.told["port"]))
        self._count = 0
        self._first = 0

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        for child in (self.wire, self.other_load, self.load, self.sink):
            child.close()

    @property
    def smtp_port(self) -> int:
        """Where the sink listens."""
        return int(self.sink.told["port"])

    def numbers(self, count: int) -> int:
        """Set aside numbers for so many mails and return the first, so that no two mails share a name."""
        first, self._first = self._first, self._first + count
        return first

    @contextmanager
    def fresh_folder(self) -> Iterator[Path]:
        """Lend an empty folder."""
        self._count += 1
        folder = self.folder / f"store-{self._count}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def neighbour(self, name: str) -> Neighbour:
        """Start a neighbour before the sink."""
        return Neighbour(name, self.smtp_port, self.ca, self.folder / f"{name}.log")

    @contextmanager
    def product(self, smtp_port: int | None = None, **how: Any) -> Iterator[Product]:
        """Lend a running product with an empty store."""
        settings = Settings(smtp_port or self.smtp_port, self.ca, **how)
        with self.fresh_folder() as folder, Product(folder, settings) as product:
            yield product

    @contextmanager
    def subject(self, name: str) -> Iterator[Subject]:
        """Lend a running neighbour, or the product by the name ``postroom``."""
        if name == "postroom":
            with self.product() as product:
                yield product
        else:
            with self.neighbour(name) as neighbour:
                yield neighbour

    def post(self, subject: Subject, count: int, clients: int = 32, **how: Any) -> dict[str, Any]:
        """POST so many small mails as fast as the clients can; every one must be taken."""
        first = self.numbers(count)
        told = self.load.ask("closed", **subject.target(), clients=clients, requests=count, first=first, **how)
        expect_success(told)
        return {**told, "first": first}

    def await_messages(self, count: int, seconds: float, sink: Child | None = None) -> dict[str, Any]:
        """Wait until the sink has taken so many, and return its figures; ``TimeoutError`` when it does not."""
        sink = sink or self.sink
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            stats = sink.ask("stats")
            if stats["messages"] >= count:
                return sink.ask("stats", arrivals=True)
            time.sleep(0.05)
        raise TimeoutError(f"after {seconds:g} s the sink has {stats['messages']} of {count} messages")


def expect_success(told: dict[str, Any]) -> None:
    """Raise where an answer was not 200 or 202: a measurement of refusals would be worthless."""
    strange = {status: count for status, count in told["statuses"].items() if status not in ("200", "202")}
    if strange:
        raise RuntimeError(f"answers by status: {told['statuses']}")
