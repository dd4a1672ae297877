"""Room for urgent mail is kept where a tenant that was granted it may send, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.building.desks import carries_urgent
from tests.support.configuration import GOOD, load_text


@pytest.mark.parametrize(
    ("sender", "priorities", "kept"),
    [
        ("noreply@contoso.test", '"urgent", "normal"', True),
        ("noreply@contoso.test", '"normal", "bulk"', False),
        ("*@contoso.test", '"urgent"', True),
        ("billing@contoso.test", '"urgent"', True),
        ("*@invoices.contoso.test", '"urgent"', True),
        ("march@invoices.contoso.test", '"urgent"', True),
        ("other@contoso.test", '"urgent"', False),
    ],
)
def test_a_mailbox_keeps_room_for_urgent_mail_that_may_come(
    tmp_path: Path, sender: str, priorities: str, kept: bool
) -> None:
    others = '\n[mailboxes.other]\naddress = "other@contoso.test"\nconnection = "contoso"\npassword = "another-one"\n'
    tenant = f'\n[tenants.alerts]\nsenders = ["{sender}"]\npriorities = [{priorities}]\n'
    settings = load_text(tmp_path, GOOD + others + tenant)
    plan = next(plan for plan in settings.mailbox_plans() if plan.name == "noreply")
    assert carries_urgent(plan.cover, settings.tenants.values()) == kept
