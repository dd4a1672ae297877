"""Large bodies cost memory in proportion, never without bound, and hold nobody up."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.api_process import Probing, Process, post_plainly, served_apart
from tests.support.api_world import HELLO

MIB = 1024 * 1024
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def with_attachment(octets: int) -> bytes:
    """A message whose attachment has so many octets, as JSON."""
    content = "QUJD" * (octets // 3)
    return json.dumps({**HELLO, "attachments": [{"filename": "a.bin", "content": content}]}).encode()


async def post_all(process: Process, count: int, **request: object) -> list[int]:
    """Post the same request so often at once; returns the statuses."""
    limits = httpx.Limits(max_connections=count)
    headers = {"authorization": f"Bearer {process.key}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, limits=limits, timeout=60) as client:
        answers = await asyncio.gather(*(client.post("/v1/messages", **request) for _ in range(count)))
    for answer in answers:
        assert answer.status_code == 202 or answer.json()["code"] == "busy", answer.text
        assert answer.status_code == 202 or int(answer.headers["retry-after"]) > 0
    return [answer.status_code for answer in answers]


def test_one_large_attachment_costs_less_than_three_and_a_half_times_its_size(tmp_path: Path) -> None:
    """25 MB, from the first octet to the commit; and probes are answered meanwhile."""
    body = with_attachment(25 * MIB)
    with served_apart(tmp_path) as process:
        process.silence()
        with Probing(process) as probing:
            assert post_plainly(process, body) == 202
        assert process.peak() < 3.5 * 25 * MIB
        assert process.silence() < 0.1
        assert probing.answered > 10


async def test_large_forms_are_never_whole_in_memory(tmp_path: Path) -> None:
    """Three at once with 25 MB of files each stay under 150 MB."""
    files = [("message", (None, json.dumps(HELLO), "application/json"))]
    files += [("file", (f"{number}.bin", os.urandom(5 * MIB), "application/octet-stream")) for number in range(5)]
    with served_apart(tmp_path) as process:
        assert await post_all(process, 3, files=files) == [202] * 3
        assert process.peak() < 150 * MIB


async def test_many_large_bodies_at_once_are_taken_or_told_to_come_again(tmp_path: Path) -> None:
    """64 of 20 MB: 202 or 503 busy, and never more than 400 MB resident."""
    body = with_attachment(15 * MIB)
    with served_apart(tmp_path) as process:
        statuses = await post_all(process, 64, content=body, headers={"content-type": "application/json"})
        assert statuses.count(202) >= 1
        assert process.peak() + process.idle < 400 * MIB
