"""Wrong keys are slowed down by address."""

from __future__ import annotations

from app.web.failures import LIMIT, WINDOW, Failures


def test_the_twenty_first_failure_of_a_minute_must_wait_until_the_first_is_old() -> None:
    """And is not counted itself, so that nobody is shut out for ever."""
    failures = Failures()
    for second in range(LIMIT):
        assert failures.note("192.0.2.1", 100.0 + second) is None
    assert failures.note("192.0.2.1", 130.0) == 30
    assert failures.note("192.0.2.1", 159.5) == 1
    assert failures.note("192.0.2.1", 100.0 + WINDOW) is None
    assert failures.note("192.0.2.1", 100.0 + WINDOW) == 1


def test_addresses_do_not_pay_for_each_other() -> None:
    """Each has its own count."""
    failures = Failures()
    for _ in range(LIMIT):
        failures.note("192.0.2.1", 1.0)
    assert failures.note("192.0.2.2", 1.0) is None


def test_the_memory_is_bounded() -> None:
    """The address that failed longest ago is forgotten first."""
    failures = Failures()
    for number in range(20_000):
        failures.note(str(number), 1.0)
    assert len(failures._times) <= 10_000
