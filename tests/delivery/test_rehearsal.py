"""Whose turn comes when, played through on copies: who goes before whom, and when a day has room."""

from __future__ import annotations

import pytest

from app.delivery.ledger import DAY, Budget, Ledger
from app.delivery.rehearsal import Crowd, Pace, Twin, ahead_of, turn_at
from app.mail.message import Priority

NOW = 100_000.0
URGENT, NORMAL, BULK = Priority.URGENT, Priority.NORMAL, Priority.BULK


def played(mine: Crowd, *others: Crowd, per_minute: int = 30, mailboxes: int = 1) -> float:
    """Return in how many seconds the message behind ``mine`` begins; each transaction takes 0.6 s on 3 sessions."""
    twins = []
    for _ in range(mailboxes):
        ledger = Ledger(Budget(per_minute, 0))
        pace = Pace(ledger.rate(URGENT, 0), ledger.rate(NORMAL, 0), 0.6, 0.2)
        twins.append(Twin(*ledger.rehearse(NOW, 0.6), pace, NOW))
    return turn_at(mine, [*others, mine], twins) - NOW


@pytest.mark.parametrize(
    ("share", "waiting", "before"),
    [(1.0, 100, 11), (2.0, 100, 22), (0.5, 100, 6), (1.0, 4, 4)],
)
def test_of_another_tenant_as_many_go_before_as_its_share_says(share: float, waiting: int, before: int) -> None:
    mine, other = Crowd("a", NORMAL, 1.0, 10), Crowd("b", NORMAL, share, waiting)
    assert ahead_of(mine, [mine, other]) == [(mine, 10), (other, before)]


def test_a_higher_class_goes_before_as_a_whole_and_a_lower_one_not_at_all() -> None:
    mine, higher, lower = Crowd("a", NORMAL, 1.0, 0), Crowd("b", URGENT, 1.0, 7), Crowd("b", BULK, 1.0, 9)
    assert ahead_of(mine, [higher, lower, mine]) == [(higher, 7), (mine, 0)]
    assert played(mine, higher, lower) == pytest.approx(7 * 0.2)


def test_two_mailboxes_take_half_the_time() -> None:
    one = played(Crowd("a", NORMAL, 1.0, 300))
    assert played(Crowd("a", NORMAL, 1.0, 300), mailboxes=2) == pytest.approx(one / 2, abs=31)
    assert one == pytest.approx(600, abs=31)


def test_without_a_limit_a_minute_only_the_sessions_count() -> None:
    assert played(Crowd("a", NORMAL, 1.0, 100), per_minute=0) == pytest.approx(100 * 0.2)
    others = (Crowd("b", NORMAL, 1.0, 1000), Crowd("c", NORMAL, 1.0, 10))
    assert played(Crowd("a", NORMAL, 1.0, 100), *others, per_minute=0) == pytest.approx(211 * 0.2, abs=1)


@pytest.mark.parametrize(
    ("recipients", "seconds"),
    [
        (0, 0.0), (39, 0.0),  # what is free
        (40, 1000.0), (69, 1000.0), (70, 2000.0), (99, 2000.0),  # as the buckets leave
        (100, DAY), (139, DAY), (140, DAY + 1000.0), (200, 2 * DAY), (999, 9 * DAY + 2000.0),  # a day later all again
    ],
)  # fmt: skip
def test_a_day_has_room_again_as_its_recipients_leave_it(recipients: int, seconds: float) -> None:
    ledger = Ledger(Budget(30, 100))
    ledger.charge(NOW + 1000.0 - DAY, 30)
    ledger.charge(NOW + 2000.0 - DAY, 30)
    assert ledger.day_turn(NOW, NORMAL, recipients) == pytest.approx(seconds, abs=61)


def test_a_day_that_the_server_says_is_full_is_full_until_then() -> None:
    ledger = Ledger(Budget(30, 100))
    ledger.fill_day(NOW + 3600.0)
    assert (ledger.day_full(NOW), ledger.day_full(NOW + 3601.0)) == (3600.0, 0.0)
