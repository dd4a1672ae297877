"""Waiting for what real processes do, with a limit: no test sleeps for as long as something might take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

_ENDS = {"sent", "held", "unknown", "failed", "expired", "canceled", "partially_sent"}


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"it did not come within {seconds} s"
        time.sleep(0.02)


def ended(client: httpx.Client, id_: str, seconds: float = 40) -> dict[str, Any]:
    """Return what GET tells of a message that is at its end, or of one that is not there in time."""
    until = time.monotonic() + seconds
    while True:
        view = client.get(f"/v1/messages/{id_}").raise_for_status().json()
        if view["status"] in _ENDS or time.monotonic() > until:
            return view
        time.sleep(0.05)
