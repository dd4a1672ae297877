"""The service is as its description says, whatever is sent: judged by schemathesis.

All its checks but ``positive_data_acceptance``: well-formed mail may be refused for its meaning.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks

from app.api.openapi import document
from app.kit.clock import SystemClock
from tests.support.api_world import HELLO, open_world, serving

load_all_checks()
schema = schemathesis.openapi.from_dict(document("0.1.0"))


@dataclass
class Served:
    """A service in a thread of its own, with a message in it."""

    url: str = ""
    key: str = ""
    message: str = ""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found, up, down = Served(), threading.Event(), threading.Event()
    folder: Path = tmp_path_factory.mktemp("schemathesis")

    async def serve() -> None:
        async with open_world(folder, SystemClock()) as world, serving(world.app) as (host, port):
            world.finish.set()
            world.app._gate.failures.note = lambda *_: None  # type: ignore[method-assign]
            found.url, found.key = f"http://{host}:{port}", world.full_key.text
            up.set()
            await asyncio.to_thread(down.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    up.wait(10)
    headers = {"Authorization": f"Bearer {found.key}"}
    found.message = requests.post(f"{found.url}/v1/messages", json=HELLO, headers=headers, timeout=5).json()["id"]
    yield found
    down.set()
    thread.join(10)


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_service_is_as_it_is_described(case: schemathesis.Case, served: Served) -> None:
    """Statuses, types, headers and bodies; what is wrong is refused; no 5xx."""
    if "id" in case.path_parameters and len(str(case.query)) % 2:
        case.path_parameters["id"] = served.message
    case.call_and_validate(
        base_url=served.url,
        headers={"Authorization": f"Bearer {served.key}"},
        excluded_checks=[schemathesis.checks.positive_data_acceptance],
        timeout=10,
    )
