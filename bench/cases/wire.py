"""Delivering over distance: three sessions through a wire with a round-trip time, and round trips counted at the sink.

The rate is that of the middle of a long queue: from two seconds after the first arrival to the third from last, when
all three sessions are open and busy.
"""

from __future__ import annotations

import time

from bench.scene import Scene
from bench.subjects import Product

_SESSIONS = 3
_SETTLING_SECONDS = 2.0


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    readings: dict[str, float] = {}
    with scene.product(scene.wire.told["port"]) as product:
        scene.wire.ask("set", rtt=0.02)
        scene.sink.ask("reset")
        rate, turns = _queue(scene, product, 600 if scene.size.is_full else 300)
        readings["delivered/s at RTT 20 ms"] = rate
        readings["delivered/s at RTT 20 ms ÷ (3 / RTT)"] = rate / (_SESSIONS / 0.02)
        readings["round trips a message, in a queue"] = turns
        readings["round trips a message, lone"] = _lone(scene, product)
    with scene.product(scene.wire.told["port"]) as product:
        scene.wire.ask("set", rtt=0.08)
        scene.sink.ask("reset", dot_delay=0.3)
        rate, _ = _queue(scene, product, 100 if scene.size.is_full else 40)
        readings["delivered/s at RTT 80 ms, dot 300 ms late"] = rate
        readings["delivered/s at RTT 80 ms, dot 300 ms late ÷ (3 / (RTT + 0.3 s))"] = rate / (_SESSIONS / 0.38)
    scene.wire.ask("set", rtt=0.0)
    scene.sink.ask("reset")
    return readings


def _queue(scene: Scene, product: Product, count: int) -> tuple[float, float]:
    """Return messages a second and round trips a message, of a queue."""
    scene.post(product, count)
    stats = scene.await_messages(count, 120)
    times = sorted(at for _, at in stats["arrivals"])
    middle = [at for at in times[:-_SESSIONS] if at >= times[0] + _SETTLING_SECONDS]
    return (len(middle) - 1) / (middle[-1] - middle[0]), _mean(stats["turns"])


def _lone(scene: Scene, product: Product) -> float:
    """Return round trips a message, of mails that come one by one to warm sessions."""
    scene.sink.ask("reset")
    for number in range(1, 11):
        scene.post(product, 1, clients=1)
        scene.await_messages(number, 10)
        time.sleep(0.1)
    return _mean(scene.sink.ask("stats")["turns"])


def _mean(turns: dict[str, int]) -> float:
    return sum(int(many) * times for many, times in turns.items()) / sum(turns.values())
