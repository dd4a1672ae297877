"""The windows of a mailbox: never more than Exchange allows, all of it used, nothing opened early."""

from __future__ import annotations

import itertools
import math
import random
from datetime import UTC, datetime, timedelta

import pytest

from app.delivery.ledger import Budget, Ledger
from app.delivery.rehearsal import Crowd, Pace, Twin, turn_at
from app.mail.message import Priority
from app.queue.rows import LedgerRow

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
EXCHANGE = Budget(per_minute=30, per_day=10_000, soft_stop={Priority.BULK: 0.90, Priority.NORMAL: 0.95})


def run(ledger: Ledger, count: int, *, took: float = 0.5, start: float = 1000.0, tenant: str = "a") -> list[float]:
    """Let ``count`` transactions begin as early as the ledger allows; return when each began."""
    now, begun = start, []
    while len(begun) < count:
        wait = ledger.wait(now, Priority.NORMAL, 1)
        assert wait < math.inf
        now += wait
        slot = ledger.begin(now, tenant, 1)
        begun.append(now)
        ledger.end(slot, now + took, 1, replied=True)
    return begun


def most_in_a_minute(begun: list[float], took: float = 0.0) -> int:
    return max(sum(start <= other <= start + 60 + took for other in begun) for start in begun)


def test_never_more_than_thirty_in_any_sixty_seconds_and_all_thirty_are_used():
    begun = run(Ledger(EXCHANGE), 200)
    assert most_in_a_minute(begun) == 30


def test_two_thirds_go_in_one_burst_and_the_rest_evenly_spaced():
    begun = run(Ledger(EXCHANGE), 30)
    assert begun[19] == begun[0]
    spaced = [round(later - earlier, 6) for earlier, later in itertools.pairwise(begun[19:])]
    assert spaced == [round(60 / 11, 6)] * 10


@pytest.mark.parametrize("took", [0.0, 0.3, 0.5])
def test_every_minute_of_a_long_queue_uses_all_thirty(took: float):
    begun = run(Ledger(EXCHANGE), 310, took=took)
    # A burst opens when the places of the last one free themselves; half a second before it begins its minute.
    minute = 60.1 + took
    passed = [at - begun[0] + 0.5 for at in begun]
    assert [sum(n * minute <= at < (n + 1) * minute for at in passed) for n in range(5)] == [30] * 5


def test_eighty_messages_at_once_go_within_125_seconds():
    begun = run(Ledger(EXCHANGE), 80)
    passed = [at - begun[0] for at in begun]
    assert sum(at <= 54 for at in passed) >= 28
    assert sum(at <= 114 for at in passed) >= 58
    assert passed[-1] <= 124


def test_a_running_transaction_occupies_its_place_until_a_minute_after_its_reply():
    ledger = Ledger(Budget(1, 0))
    slot = ledger.begin(0.0, "a", 1)
    assert ledger.wait(500.0, Priority.NORMAL, 1) == math.inf
    ledger.end(slot, 600.0, 1, replied=True)
    assert 60 < ledger.wait(600.0, Priority.NORMAL, 1) < 60.5


def test_an_attempt_without_a_reply_leaves_five_seconds_later():
    ledger = Ledger(Budget(1, 0))
    ledger.end(ledger.begin(0.0, "a", 1), 10.0, 1, replied=False)
    assert 65 <= ledger.wait(10.0, Priority.NORMAL, 1) < 65.5


def test_a_place_given_back_was_never_used():
    ledger = Ledger(Budget(1, 10))
    ledger.give_back(ledger.begin(0.0, "a", 1))
    assert ledger.wait(0.0, Priority.NORMAL, 1) == 0
    assert ledger.day_used(0.0) == 0


def test_urgent_mail_may_use_the_reserve_at_once_after_a_burst_of_others():
    ledger = Ledger(EXCHANGE)
    now = 0.0
    while ledger.wait(now, Priority.BULK, 1, reserve=5) == 0:
        ledger.end(ledger.begin(now, "a", 1, Priority.BULK, 5), now, 1, replied=True)
    for _ in range(5):
        assert ledger.wait(now, Priority.URGENT, 1) == 0
        ledger.end(ledger.begin(now, "a", 1), now, 1, replied=True)


@pytest.mark.parametrize(
    ("priority", "share"), [(Priority.BULK, 0.90), (Priority.NORMAL, 0.95), (Priority.URGENT, 1.0)]
)
def test_a_class_stops_at_its_share_of_the_day(priority: Priority, share: float):
    ledger = Ledger(Budget(0, 1000, EXCHANGE.soft_stop))
    ledger.end(ledger.begin(0.0, "a", int(1000 * share)), 0.0, int(1000 * share), replied=True)
    assert ledger.wait(1.0, priority, 1) > 80_000
    assert ledger.wait(86_400 + 61.0, priority, 1) == 0


def test_the_day_makes_room_only_for_what_fits():
    ledger = Ledger(Budget(0, 1000))
    ledger.end(ledger.begin(0.0, "a", 600), 0.0, 600, replied=True)
    assert ledger.wait(1.0, Priority.URGENT, 400) == 0
    assert ledger.wait(1.0, Priority.URGENT, 401) > 0
    slot = ledger.begin(1.0, "a", 1)
    assert ledger.day_room(1.0, Priority.URGENT, 500, slot) == 400


def test_the_server_s_word_that_the_day_is_full_is_believed():
    ledger = Ledger(Budget(0, 0))
    ledger.fill_day(3600.0)
    assert ledger.wait(0.0, Priority.URGENT, 1) == 3600


def row(seconds_ago: float, *, boot_id: str = "this", boot: float = 5000.0, charged: int = 1) -> LedgerRow:
    at = NOW - timedelta(seconds=seconds_ago)
    return LedgerRow("m", boot_id, at, boot - seconds_ago, at, boot - seconds_ago, charged)


def restored(rows: list[LedgerRow], *, now: datetime = NOW, boot: float = 5000.0) -> Ledger:
    ledger = Ledger(EXCHANGE)
    ledger.restore(rows, boot_id="this", boot=boot, now=now)
    return ledger


def test_a_restart_remembers_what_was_sent_this_minute():
    ledger = restored([row(10.0)] * 30)
    assert 50 < ledger.wait(5000.0, Priority.NORMAL, 1) < 51


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_wall_clock_that_jumped_between_two_starts_changes_nothing_within_a_boot(jump: timedelta):
    ledger = restored([row(10.0)] * 30, now=NOW + jump)
    assert 50 < ledger.wait(5000.0, Priority.NORMAL, 1) < 51


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(0), timedelta(minutes=59)])
def test_attempts_of_another_boot_count_as_made_at_this_start(jump: timedelta):
    ledger = restored([row(59.0, boot_id="another")] * 30, now=NOW + jump, boot=20.0)
    assert 59 < ledger.wait(20.0, Priority.NORMAL, 1) < 61


def test_attempts_of_another_boot_more_than_an_hour_back_do_not_hold_up_the_minute():
    ledger = restored([row(3 * 3600.0, boot_id="another")] * 30, boot=20.0)
    assert ledger.wait(20.0, Priority.NORMAL, 1) == 0
    assert ledger.day_used(20.0) == 30


def test_a_jump_across_a_reboot_never_opens_the_day_early():
    sent_23_hours_ago = row(23 * 3600.0, boot_id="another", charged=9_500)
    ledger = restored([sent_23_hours_ago], now=NOW + timedelta(hours=1), boot=20.0)
    assert ledger.wait(20.0, Priority.NORMAL, 1) >= 3600


def test_an_attempt_left_open_by_a_crash_counts_from_the_start():
    at = NOW - timedelta(seconds=300)
    open_row = LedgerRow("m", "this", at, 4700.0, None, None, 0)
    assert restored([open_row] * 30).wait(5000.0, Priority.NORMAL, 1) > 60


def test_tenants_take_turns_by_the_running_minute_where_it_has_no_limit_too():
    ledger = Ledger(Budget(per_minute=0, per_day=0))
    ledger.end(ledger.begin(1000.0, "a", 1), 1001.0, 1, replied=True)
    assert (ledger.used_by("a", 1060.0), ledger.used_by("b", 1060.0)) == (1, 0)
    assert ledger.used_by("a", 1061.0) == 0


def test_tenants_are_told_apart_in_the_running_minute():
    ledger = Ledger(EXCHANGE)
    run(ledger, 5, tenant="a", took=0.0)
    run(ledger, 2, tenant="b", took=0.0)
    assert (ledger.used_by("a", 1000.0), ledger.used_by("b", 1000.0)) == (5, 2)
    assert ledger.used_by("a", 1061.0) == 0


@pytest.mark.parametrize("ahead", [0, 10, 25, 35, 90, 299])
def test_the_forecast_agrees_with_what_the_ledger_then_does(ahead: int):
    began = run(Ledger(EXCHANGE), ahead + 1, took=0.3)
    ledger = Ledger(EXCHANGE)
    pace = Pace(ledger.rate(Priority.URGENT, 0), ledger.rate(Priority.NORMAL, 0), 0.3, 0.1)
    mine = Crowd("a", Priority.NORMAL, 1.0, ahead)
    foretold = turn_at(mine, [mine], [Twin(*ledger.rehearse(1000.0, 0.3), pace, 1000.0)]) - 1000.0
    real = began[-1] - 1000.0
    assert abs(foretold - real) <= max(5.0, 0.2 * real)


def test_random_loads_never_exceed_any_window():
    chance = random.Random(7)
    for _ in range(20):
        ledger = Ledger(Budget(chance.randint(1, 40), 0))
        now, begun, ended = 0.0, [], []
        running = []
        for _ in range(300):
            now += chance.expovariate(2.0)
            for slot in [slot for slot, until in running if until <= now]:
                ledger.end(slot, now, 1, replied=True)
                ended.append((slot.began, now))
            running = [(slot, until) for slot, until in running if until > now]
            if len(running) < 3 and ledger.wait(now, Priority.NORMAL, 1) == 0:
                running.append((ledger.begin(now, "a", 1), now + chance.expovariate(1.0)))
                begun.append(now)
        spans = ended + [(slot.began, now) for slot, _ in running]
        for start in begun:
            # The server may count at any instant between first byte and last reply: take the worst for it.
            assert sum(first <= start + 60 and last >= start for first, last in spans) <= ledger.budget.per_minute


def test_what_went_without_a_limit_counts_when_there_is_one_again() -> None:
    ledger = Ledger(Budget(0, 0))
    slots = [ledger.begin(100.0, "shop", 1) for _ in range(30)]
    for slot in slots[:25]:
        ledger.end(slot, 101.0, 1, replied=True)
    ledger.go_on_with(Budget(30, 0))
    for slot in slots[25:]:
        ledger.end(slot, 102.0, 1, replied=True)
    assert ledger.minute_used(103.0) == 30 and ledger.wait(103.0, Priority.NORMAL, 1) > 50
    assert ledger.minute_used(170.0) == 0 and not ledger.used_by("shop", 170.0)
