"""How many of a lane are due by when: an image from which forecasts are made."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.delivery.dues import Dues
from app.mail.message import Priority
from app.queue.rows import LaneKey
from tests.support.manual_clock import NOON

ONE, TWO = LaneKey(1, Priority.NORMAL), LaneKey(2, Priority.NORMAL)


def after(seconds: float):
    return NOON + timedelta(seconds=seconds)


def test_what_is_scheduled_counts_only_when_its_time_has_come() -> None:
    dues = Dues()
    dues.add(NOON, 3)
    dues.add(after(3600), 5)
    assert (dues.total, dues.due(NOON), dues.due(after(3599)), dues.due(after(3600))) == (8, 3, 3, 8)


def test_what_has_been_due_longest_is_taken_first() -> None:
    dues = Dues()
    for seconds in (30, 0, 10):
        dues.add(after(seconds), 2)
    assert dues.due(after(20)) == 4
    dues.take(3)
    assert (dues.total, dues.due(after(20)), dues.due(after(30))) == (3, 1, 3)
    dues.take(9)
    assert (dues.total, dues.due(after(30))) == (0, 0)


@pytest.mark.parametrize(("due", "before"), [(-1.0, 0), (0.0, 4), (30.0, 4), (60.0, 8), (90.0, 10), (120.0, 12)])
def test_those_before_an_instant_are_counted(due: float, before: int) -> None:
    dues = Dues()
    for seconds, count in ((0, 4), (60, 4), (90, 2), (120, 2)):
        dues.add(after(seconds), count)
    for now in (after(due), after(1000)):  # about to be accepted, and looked back at
        assert dues.before(after(due), ONE, ONE, now) == before


def test_of_one_instant_the_lane_of_the_smaller_key_goes_first() -> None:
    dues = Dues()
    dues.add(NOON, 7)
    for now in (NOON, after(5)):
        assert dues.before(NOON, ONE, TWO, now) == 7
        assert dues.before(NOON, TWO, ONE, now) == 0


def test_a_long_stream_is_kept_in_few_groups() -> None:
    """Also when somebody looks between any two messages."""
    dues = Dues()
    for number in range(10_000):
        dues.add(after(number / 100), 1)
        dues.due(after(number / 100))
    assert len(dues._ready) <= 51
    assert dues.before(after(50), ONE, TWO, after(100)) == pytest.approx(5000, abs=2)
