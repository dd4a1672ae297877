"""When a message is tried again, and when its time is over."""

from __future__ import annotations

import timeit
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mail.schedule import LONGEST_NAMED_WAIT, ends_at, named_wait, next_due

_NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
_WAITS = (30.0, 120.0, 300.0)


def _wait(number: int, chance: float = 0.5, retry_after: float | None = None, jitter: float = 0.2) -> float:
    return (next_due(number, _NOW, _WAITS, jitter, chance, retry_after) - _NOW).total_seconds()


@pytest.mark.parametrize(("number", "seconds"), [(1, 30), (2, 120), (3, 300), (4, 300), (1000, 300)])
def test_waits_follow_the_schedule_and_the_last_one_repeats(number: int, seconds: float) -> None:
    assert _wait(number) == seconds


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 24), (0.25, 27), (0.5, 30), (0.75, 33)])
def test_chance_varies_a_wait_by_the_jitter_either_way(chance: float, seconds: float) -> None:
    assert _wait(1, chance) == pytest.approx(seconds)


def test_without_jitter_a_wait_is_exact() -> None:
    assert _wait(2, 0.9, jitter=0.0) == 120


@pytest.mark.parametrize(("named", "seconds"), [(600.0, 600), (30.0, 30), (5.0, 24), (0.0, 24), (None, 24)])
def test_a_named_wait_is_a_floor(named: float | None, seconds: float) -> None:
    """The server's word lengthens the wait, jitter never shortens it, and a shorter word changes nothing."""
    assert _wait(1, 0.0, named) == pytest.approx(seconds)


@given(number=st.integers(1, 50), chance=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1))
def test_a_wait_never_leaves_its_range(number: int, chance: float, jitter: float) -> None:
    planned = _WAITS[min(number, 3) - 1]
    assert planned * (1 - jitter) - 1e-3 <= _wait(number, chance, jitter=jitter) <= planned * (1 + jitter) + 1e-3


@pytest.mark.parametrize(("number", "schedule"), [(0, _WAITS), (1, ())])
def test_a_schedule_that_cannot_be_is_refused(number: int, schedule: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        next_due(number, _NOW, schedule, 0.2, 0.5)


def test_a_message_ends_a_lifetime_after_it_was_first_due_or_as_asked() -> None:
    assert ends_at(_NOW, timedelta(hours=72)) == _NOW + timedelta(hours=72)
    asked = _NOW + timedelta(minutes=5)
    assert ends_at(_NOW, timedelta(hours=72), asked) == asked


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("try again in 30 seconds", 30),
        ("Please try again in 5 minutes.", 300),
        ("Greylisted; retry in 5min", 300),
        ("Retry after 120", 120),
        ("Retry-After: 90", 90),
        ("wait at least 2 hours", 7200),
        ("please try again after 1 hour", 3600),
        ("try again in an hour, please", 3600),
        ("come back in 00:05:30", 330),
        ("try again in 30.", 30),
        ("Try  Again\tIn 3 m", 180),
        ("please try again later; retry after 15 s", 15),
        ("try again in 999999 hours", LONGEST_NAMED_WAIT),
        ("Please try again later", None),
        ("Server busy. Please try again later from [192.0.2.1]", None),
        ("try again later (AS:46601)", None),
        ("Temporary server error. Please try again later. PRX2", None),
        ("retry 5.7.1", None),
        ("wait 5", None),
        ("Try again after 10:30", None),
        ("Connection timed out. Total session duration: 00:20:55", None),
        ("Timeout waiting for client input", None),
        ("Connection dropped due to SocketError", None),
        ("", None),
    ],
)
def test_a_wait_is_read_from_a_servers_words_where_they_name_one(text: str, seconds: float | None) -> None:
    assert named_wait(text) == seconds


@pytest.mark.parametrize(
    "filling", ["retry ", "wait at least ", "try again ", "try again in 1", "wait" + " " * 40, "9"]
)
def test_no_text_of_8_kib_takes_long_to_read(filling: str) -> None:
    text = (filling * 8192)[:8192]
    assert min(timeit.repeat(lambda: named_wait(text), number=1, repeat=3)) < 0.25
