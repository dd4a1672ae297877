"""Large mail: what one attachment of 25 MB costs of memory, what four at once do, and whom a passing one holds up."""

from __future__ import annotations

import time
from typing import Any

from bench.cases.latency import RATE
from bench.scene import ATTACHMENT, MIB, Scene, expect_success
from bench.subjects import Product, large_body

_BUSY = "503"


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    one, _ = _peak(scene, 1)
    four, statuses = _peak(scene, 4)
    return {
        "peak memory of one, MB": one / MIB,
        "peak memory of one ÷ attachment": one / ATTACHMENT,
        "peak memory of four at once, MB": four / MIB,
        "four at once, refused with 503": float(statuses.get(_BUSY, 0)),
        **_beside(scene),
    }


def _peak(scene: Scene, count: int) -> tuple[int, dict[str, int]]:
    """POST large mails at once and return the peak above idle until all are sent, and the answers by status."""
    with scene.product() as product:
        _warm(scene, product)
        usage = product.usage
        idle = usage.memory()
        usage.begin_peak()
        scene.sink.ask("reset")
        target = {**product.target(), "body": large_body(), "attachment": ATTACHMENT}
        told = scene.other_load.ask("closed", **target, clients=count, requests=count, first=scene.numbers(count))
        statuses = told["statuses"]
        if set(statuses) - {"202", _BUSY}:
            raise RuntimeError(f"answers by status: {statuses}")
        scene.await_messages(statuses.get("202", 0), 60)
        time.sleep(0.5)
        return usage.peak() - idle, statuses


def _beside(scene: Scene) -> dict[str, float]:
    """Post small mails steadily while a large one comes in and goes out."""
    seconds = 4.0
    with scene.product() as product:
        _warm(scene, product)
        scene.sink.ask("reset")
        first = scene.numbers(10_000)
        scene.load.tell("steady", **product.target(), rate=RATE, seconds=seconds, first=first)
        time.sleep(0.7)
        target: dict[str, Any] = {**product.target(), "body": large_body(), "attachment": ATTACHMENT}
        expect_success(scene.other_load.ask("closed", **target, clients=1, requests=1, first=first + 9_999))
        told = scene.load.answer()
        expect_success(told)
        arrived = dict(scene.await_messages(told["count"] + 1, 60)["arrivals"])
    return {
        "slowest answer beside a large one, ms": told["max"] * 1000,
        "slowest small mail beside a large one, ms": max(arrived[name] - due for name, due in told["stamps"]) * 1000,
    }


def _warm(scene: Scene, product: Product) -> None:
    scene.sink.ask("reset")
    scene.post(product, 100, clients=4)
    scene.await_messages(100, 30)
    time.sleep(0.3)
