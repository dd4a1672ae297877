"""Taking in: durable accepts beside a route that does nothing. Nobody listens where the product would send to.

So the product does all of an accept (key, checks, composing, rows, fsync) and its connection waits out its back-off;
sending has cases of its own. The CPU of an accept is told beside the rates: it says the same where a machine is shared
and rates say little.
"""

from __future__ import annotations

from bench.scene import Scene, expect_success
from bench.subjects import Subject, nobody


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    with scene.neighbour("bare") as bare:
        bare_many, bare_one = _measure(scene, bare)
    with scene.product(nobody()) as product:
        many, one = _measure(scene, product)
    return {
        "accepts/s, 32 clients": many["rate"],
        "accepts/s, 32 clients, bare": bare_many["rate"],
        "accepts/s ÷ bare": many["rate"] / bare_many["rate"],
        "CPU of an accept, µs": many["cpu"],
        "CPU of an accept, µs, bare": bare_many["cpu"],
        "accept p50 at 1 client, ms": one["p50"] * 1000,
        "accept p50 at 1 client, ms, bare": bare_one["p50"] * 1000,
        "accept p50 at 1 client ÷ bare": one["p50"] / bare_one["p50"],
        "accept p99 at 32 clients, ms": many["p99"] * 1000,
        "accept p99 at 32 clients, ms, bare": bare_many["p99"] * 1000,
        "accept p99 at 32 clients ÷ bare": many["p99"] / bare_many["p99"],
    }


def _measure(scene: Scene, subject: Subject) -> tuple[dict[str, float], dict[str, float]]:
    told = []
    for clients in (32, 1):
        target = {**subject.target(), "clients": clients, "warm": 1.0, "seconds": scene.size.seconds}
        before = subject.usage.cpu()
        answer = scene.load.ask("closed", **target, first=scene.numbers(100_000))
        expect_success(answer)
        spent = subject.usage.cpu() - before
        told.append({**answer, "cpu": spent / sum(answer["statuses"].values()) * 1e6})
    return told[0], told[1]
