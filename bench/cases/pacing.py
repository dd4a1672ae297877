"""Under Exchange's limits with nothing set: 80 mails at once, and the same with a power cut in the middle.

Both run side by side, each with a sink of its own, since they do little but wait: 432 for a fourth session, 451 for
the 31st message of a calendar minute, the dot 300 ms late. In the second, 40 mails are posted, the process is killed
after 20 s and started again, and 40 more are posted.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench.children import Child
from bench.scene import Scene
from bench.subjects import Product, Settings

_MAILS = 80
_KILL_AFTER = 20.0
_PATIENCE = 240.0


@dataclass(slots=True)
class _Stage:
    """One sink with Exchange's limits and one product before it."""

    sink: Child
    product: Product
    began: float = 0.0

    def taken(self) -> dict[str, Any]:
        """Return the sink's figures."""
        return self.sink.ask("stats", arrivals=True)


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    with ExitStack() as stack:
        calm, cut = _stage(scene, stack, "calm"), _stage(scene, stack, "cut")
        names = set(_post(scene, cut, _MAILS // 2))
        _post(scene, calm, _MAILS)
        time.sleep(max(0.0, cut.began + _KILL_AFTER - time.monotonic()))
        cut.product.kill()
        cut.product.start()
        names |= set(_post(scene, cut, _MAILS // 2))
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and not (_is_complete(calm.taken(), _MAILS) and names <= _seen(cut.taken())):
            time.sleep(0.5)
        calm_stats, cut_stats = calm.taken(), cut.taken()
    times = sorted(at - calm.began for _, at in calm_stats["arrivals"])
    seen = Counter(name for name, _ in cut_stats["arrivals"])
    return {
        "80 at once: refusals": float(sum(calm_stats["refusals"].values())),
        "80 at once: sent after 55 s": float(sum(at <= 55 for at in times)),
        "80 at once: sent after 115 s": float(sum(at <= 115 for at in times)),
        "80 at once: all after, s": times[-1] if len(times) >= _MAILS else _PATIENCE,
        "80 at once: most sessions": float(calm_stats["most_sessions"]),
        "kill -9 after 20 s: refusals": float(sum(cut_stats["refusals"].values())),
        "kill -9 after 20 s: lost": float(len(names - set(seen))),
        "kill -9 after 20 s: sent twice": float(sum(count - 1 for count in seen.values())),
    }


def _stage(scene: Scene, stack: ExitStack, name: str) -> _Stage:
    ca = scene.folder / f"ca-{name}.pem"
    sink = stack.enter_context(Child("bench.sink", "--ca-out", str(ca)))
    sink.ask("reset", dot_delay=0.3, exchange=True)
    folder = stack.enter_context(scene.fresh_folder())
    product = Product(folder, Settings(sink.told["port"], ca, profile="exchange", store={}))
    stack.callback(product.stop)
    return _Stage(sink, product)


def _post(scene: Scene, stage: _Stage, count: int) -> list[str]:
    """POST mails at once; return their names."""
    told = scene.post(stage.product, count, clients=count, stamps=True)
    stage.began = told["began"]
    return [name for name, _ in told["stamps"]]


def _is_complete(stats: dict[str, Any], count: int) -> bool:
    return bool(stats["messages"] >= count)


def _seen(stats: dict[str, Any]) -> set[str]:
    return {name for name, _ in stats["arrivals"]}
