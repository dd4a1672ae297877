"""Delivering with no delay: from the first POST to the last 250, and what it costs of CPU, beside the neighbours.

Everybody gets the same mails from the same 32 clients and has three sessions at most (naive opens one for each mail).
Naive is so slow that it gets fewer.
"""

from __future__ import annotations

import time
from typing import Any

from bench.scene import Scene

_NEIGHBOURS = ("naive", "pool", "nodemailer")


def run(scene: Scene) -> dict[str, float]:
    """Do one round."""
    readings: dict[str, float] = {}
    own = _deliver(scene, "postroom", scene.size.messages)
    readings["delivered/s"] = own["rate"]
    readings["CPU a message, ms"] = own["cpu"]
    readings["new sessions for the messages"] = own["sessions"]
    for name in _NEIGHBOURS:
        if name in scene.missing:
            continue
        count = max(200, scene.size.messages // 6) if name == "naive" else scene.size.messages
        theirs = _deliver(scene, name, count)
        readings[f"delivered/s, {name}"] = theirs["rate"]
        readings[f"CPU a message, ms, {name}"] = theirs["cpu"]
        readings[f"delivered/s ÷ {name}"] = own["rate"] / theirs["rate"]
        readings[f"CPU a message ÷ {name}"] = own["cpu"] / theirs["cpu"]
    return readings


def _deliver(scene: Scene, name: str, count: int) -> dict[str, Any]:
    with scene.subject(name) as subject:
        _warm(scene, subject)
        scene.sink.ask("reset")
        before = subject.usage.cpu()
        posted = scene.post(subject, count)
        stats = scene.await_messages(count, 120)
        time.sleep(0.5)  # what is recorded after the last 250 belongs to the price
        cpu = subject.usage.cpu() - before
    last = max(at for _, at in stats["arrivals"])
    # The sessions that were opened before, when it was warmed up, are still counted as open ones.
    return {
        "rate": count / (last - posted["began"]),
        "cpu": cpu / count * 1000,
        "sessions": max(stats["sessions"], stats["most_sessions"]),
    }


def _warm(scene: Scene, subject: Any) -> None:
    scene.sink.ask("reset")
    scene.post(subject, 60, clients=8)
    scene.await_messages(60, 30)
