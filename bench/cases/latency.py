"""From POST to 250 at 50 mails a second.

The product answers earlier and delivers behind its answer; naive answers when it has its 250.
"""

from __future__ import annotations

from bench.load import percentile
from bench.scene import Scene, expect_success

RATE = 50.0


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    seconds = scene.size.seconds * 2.5
    with scene.neighbour("naive") as naive:
        scene.post(naive, 50, clients=4)
        theirs = scene.load.ask("steady", **naive.target(), rate=RATE, seconds=seconds, first=scene.numbers(10_000))
        expect_success(theirs)
    with scene.product() as product:
        scene.sink.ask("reset")
        scene.post(product, 50, clients=4)
        scene.await_messages(50, 30)
        taken = taken_after(scene, product.target(), seconds)
    p50, p99 = percentile(taken, 0.5), percentile(taken, 0.99)
    return {
        "POST to 250, p50, ms": p50 * 1000,
        "POST to 250, p99, ms": p99 * 1000,
        "answer, p50, ms, naive": theirs["p50"] * 1000,
        "answer, p99, ms, naive": theirs["p99"] * 1000,
        "POST to 250, p50 ÷ naive": p50 / theirs["p50"],
        "POST to 250, p99 ÷ naive": p99 / theirs["p99"],
    }


def taken_after(scene: Scene, target: dict[str, object], seconds: float) -> list[float]:
    """POST steadily for so long; return how many seconds after it was due each mail was taken by the sink."""
    scene.sink.ask("reset")
    told = scene.load.ask("steady", **target, rate=RATE, seconds=seconds, first=scene.numbers(10_000))
    expect_success(told)
    stats = scene.await_messages(told["count"], 60)
    arrived = dict(stats["arrivals"])
    return [arrived[name] - due for name, due in told["stamps"]]
