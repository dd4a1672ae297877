"""A long queue: does taking in, delivering or starting grow slower when 100,000 messages wait?

The store is filled once (``bench.fill``) and copied for each round. Accepts are measured where nobody takes the mail,
deliveries while the queue is drained; "none" is a queue that is just long enough to be measured.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench.fill import fill_waiting
from bench.scene import Scene, expect_success
from bench.subjects import Product, Settings, nobody

_FEW = 4_000


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    base_accepts, _ = _accepts(scene, None)
    accepts, start = _accepts(scene, _filled(scene, scene.size.waiting))
    base_delivered = _delivered(scene, _filled(scene, min(_FEW, scene.size.waiting)))
    delivered = _delivered(scene, _filled(scene, scene.size.waiting))
    return {
        "accepts/s with the queue": accepts,
        "accepts/s without": base_accepts,
        "accepts/s with the queue ÷ without": accepts / base_accepts,
        "delivered/s with the queue": delivered,
        "delivered/s without": base_delivered,
        "delivered/s with the queue ÷ without": delivered / base_delivered,
        "start with the queue, s": start,
    }


def _filled(scene: Scene, count: int) -> Path:
    path = scene.folder / f"waiting-{count}.db"
    if not path.exists():
        with scene.product(nobody()) as product:
            scene.post(product, 1, clients=1)
            product.stop()
            fill_waiting(product.store, count)
            product.store.rename(path)
    return path


def _accepts(scene: Scene, filled: Path | None) -> tuple[float, float]:
    """Return accepts a second, and the seconds that the start took."""
    with scene.fresh_folder() as folder, Product(folder, Settings(nobody(), scene.ca), start=False) as product:
        if filled is not None:
            shutil.copyfile(filled, product.store)
        start = product.start()
        told = scene.load.ask(
            "closed",
            **product.target(),
            clients=32,
            warm=1.0,
            seconds=scene.size.seconds,
            first=scene.numbers(100_000),
        )
        expect_success(told)
        return told["rate"], start


def _delivered(scene: Scene, filled: Path) -> float:
    """Return messages a second while a stored queue is drained, after the first half second."""
    with scene.fresh_folder() as folder:
        with Product(folder, Settings(scene.smtp_port, scene.ca), start=False) as product:
            shutil.copyfile(filled, product.store)
            scene.sink.ask("reset")
            product.start()
            deadline = time.monotonic() + scene.size.seconds + 1.0
            while time.monotonic() < deadline and scene.sink.ask("stats")["messages"] < _FEW:
                time.sleep(0.1)
            product.kill()
        times = sorted(at for _, at in scene.sink.ask("stats", arrivals=True)["arrivals"])
    steady = [at for at in times if at >= times[0] + 0.5]
    return (len(steady) - 1) / (steady[-1] - steady[0])
