"""A large body costs memory in proportion and holds nobody up; many at once: tests/service/test_contract_bodies.py."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.api_process import Probing, post_plainly, served_apart
from tests.support.api_world import HELLO

MIB = 1024 * 1024


def with_attachment(octets: int) -> bytes:
    """A message whose attachment has so many octets, as JSON."""
    content = "QUJD" * (octets // 3)
    return json.dumps({**HELLO, "attachments": [{"filename": "a.bin", "content": content}]}).encode()


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
