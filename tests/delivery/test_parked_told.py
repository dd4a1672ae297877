"""What a tenant is told of a parked mailbox: why its mail waits, and nothing of who works behind the counter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.delivery.forecast import Forecaster
from app.queue.rows import ParkedRow
from tests.support.manual_clock import NOON


@pytest.mark.parametrize(
    ("reason", "cause", "told"),
    [
        ("operator", "parked by 4Tn2kQ9xWb7d", "the mailbox noreply is parked by an operator"),
        ("bad-credentials", "The password is wrong.", "the mailbox noreply is parked: The password is wrong."),
    ],
)
def test_a_tenant_is_told_why_and_not_by_whom(reason: str, cause: str, told: str) -> None:
    """An operator's key id stays with the operators."""
    row = ParkedRow("noreply", reason, cause, "resume it", NOON, None, "")
    spec = SimpleNamespace(name="noreply", configured="noreply", address="noreply@contoso.com")
    desk: Any = SimpleNamespace(standing_still=row, parked=row, umbrella=None, spec=spec)
    assert Forecaster._parked(desk, NOON).text == told
