"""What a tenant may ask for, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.intake.outcome import Refused
from app.intake.rules import TenantRules, check_fit, covers_for, largest_of, recipients_of, times_of
from app.mail.address import parse_named, parse_pattern
from app.mail.draft import Draft
from app.mail.message import Kind, Priority
from app.mail.senders import Cover, Directory, Limits

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DIRECTORY = Directory([Cover("noreply", parse_pattern("noreply@contoso.test"), (), Limits())])


def draft(**changes: Any) -> Draft:
    given = {"sender": parse_named("noreply@contoso.test"), "to": (parse_named("ada@customer.test"),), **changes}
    return Draft(**given)


def tenant(**changes: Any) -> TenantRules:
    return TenantRules("billing", (parse_pattern("*@contoso.test"),), **changes)


def refusal(asked: Callable[[], object]) -> Refused | None:
    """Return how something is refused; None where it is not."""
    try:
        asked()
    except Refused as refused:
        return refused
    return None


@pytest.mark.parametrize(
    ("rules", "changes", "code", "pointer"),
    [
        (tenant(), {}, None, None),
        (tenant(), {"sender": parse_named("ceo@else.test")}, "sender-not-allowed", "/from"),
        (tenant(), {"sender": parse_named("ceo@contoso.test")}, "sender-not-allowed", "/from"),
        (tenant(), {"priority": Priority.URGENT}, "priority-not-allowed", "/priority"),
        (tenant(priorities=frozenset(Priority)), {"priority": Priority.URGENT}, None, None),
        (tenant(recipients=(parse_pattern("*@customer.test"),)), {}, None, None),
        (
            tenant(recipients=(parse_pattern("*@customer.test"),)),
            {"bcc": (parse_named("a@customer.test"), parse_named("b@else.test"))},
            "recipient-not-allowed",
            "/bcc/1",
        ),
    ],
)
def test_allowlists_and_grants_are_asked_in_turn(
    rules: TenantRules, changes: dict[str, Any], code: str | None, pointer: str | None
) -> None:
    refused = refusal(lambda: covers_for(rules, DIRECTORY, draft(**changes)))
    assert (refused and refused.code, refused and refused.pointer) == (code, pointer)


def test_an_address_that_stands_twice_gets_one_copy_with_the_kind_of_its_first_place() -> None:
    found = recipients_of(draft(cc=(parse_named("ADA@customer.test"), parse_named("b@customer.test"))))
    assert [(each.address, each.kind) for each in found] == [
        ("ada@customer.test", Kind.TO),
        ("b@customer.test", Kind.CC),
    ]


@pytest.mark.parametrize(
    ("limits", "size", "recipients", "code"),
    [
        ([(0, 0)], 10**9, 10**6, None),
        ([(100, 5)], 100, 5, None),
        ([(100, 5)], 101, 5, "message-too-large"),
        ([(100, 5)], 100, 6, "too-many-recipients"),
        ([(100, 5), (0, 3)], 101, 3, None),
        ([(100, 5), (200, 3)], 150, 4, "message-too-large"),  # no single one takes both
    ],
)
def test_a_message_must_fit_a_mailbox(
    limits: list[tuple[int, int]], size: int, recipients: int, code: str | None
) -> None:
    covers = tuple(
        Cover(str(number), parse_pattern("a@b.test"), (), Limits(message_size=most, recipients_per_message=many))
        for number, (most, many) in enumerate(limits)
    )
    refused = refusal(lambda: check_fit(covers, size, recipients))
    assert (refused and refused.code) == code


def test_a_limit_that_is_none_is_the_largest() -> None:
    assert (largest_of([5, 7]), largest_of([5, 0])) == (7, 0)


@pytest.mark.parametrize(
    ("scheduled", "expires", "expected"),
    [
        (None, None, (NOW, NOW + 3 * HOUR)),
        (NOW + HOUR, None, (NOW + HOUR, NOW + 4 * HOUR)),
        (NOW - HOUR, None, (NOW, NOW + 3 * HOUR)),
        (NOW + HOUR, NOW + 2 * HOUR, (NOW + HOUR, NOW + 2 * HOUR)),
        (None, NOW, None),
        (NOW + 2 * HOUR, NOW + HOUR, None),
    ],
)
def test_a_lifetime_begins_when_a_message_is_due(
    scheduled: datetime | None, expires: datetime | None, expected: tuple[datetime, datetime] | None
) -> None:
    asked = draft(scheduled_at=scheduled, expires_at=expires)
    if expected is None:
        with pytest.raises(Refused):
            times_of(asked, NOW, 3 * HOUR)
    else:
        times = times_of(asked, NOW, 3 * HOUR)
        assert (times.due_at, times.expires_at, times.date) == (*expected, expected[0])
