"""When a credential ends, and when to say so."""

from datetime import UTC, datetime, timedelta

import pytest

from app.signin.expiry import BASIC_AUTH_END, Expiry, notice_due

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("left", "days"), [(timedelta(days=38, hours=12), 38), (timedelta(0), 0), (-timedelta(1), -1)])
def test_days_left_are_whole_and_negative_when_past(left: timedelta, days: int) -> None:
    expiry = Expiry("secret", NOW + left)
    assert expiry.days_left(NOW) == days
    assert expiry.seconds_left(NOW) == left.total_seconds()


def test_basic_authentication_ends_with_the_year_2026() -> None:
    assert BASIC_AUTH_END.days_left(NOW) == 38


@pytest.mark.parametrize(
    ("days", "told", "due"),
    [
        (61, None, None),
        (60, None, 60),
        (45, None, 60),
        (45, 60, None),
        (30, 60, 30),
        (29, 30, None),
        (7, 30, 7),
        (1, 7, 1),
        (0.5, 1, None),
        (0, 1, 0),
        (-9, 0, None),
        (-9, None, 0),
        (90, 0, None),
    ],
)
def test_each_notice_is_given_once(days: float, told: int | None, due: int | None) -> None:
    assert notice_due(Expiry("certificate", NOW + timedelta(days=days)), told, NOW) == due
