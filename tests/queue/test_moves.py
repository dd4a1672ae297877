"""Where a message goes, as tables; and the small pure parts of the room."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import apsw
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.mail.message import WORK_MOVES, AttemptOutcome, Result, Work
from app.mail.reply import Phase, Reply
from app.queue.codec import instant, micros, packed, printable, span, unpacked
from app.queue.moves import Next, State, at_rest, unmoved
from app.queue.requests import after_resolving
from app.queue.rows import QuotaPolicy, Settlement
from app.queue.settle import destination
from app.queue.windows import Windows

P, S, R, U, C = Result.PENDING, Result.SENT, Result.REJECTED, Result.UNKNOWN, Result.CANCELED
NOW = datetime(2026, 11, 23, tzinfo=UTC)
AT = micros(NOW)


def state(work: Work, *, mine: bool = True, unknown: int = 0, hold: bool = False) -> State:
    """A message; while sending by attempt 7 (``mine``) or 8."""
    due = 1 if work in (Work.QUEUED, Work.DEFERRED) else None
    attempt = (7 if mine else 8) if work is Work.SENDING else None
    return State(1, "msg_1", 1, 1, due, 0, attempt, unknown, 1, work, hold)


def settlement(next_work: Work = Work.DEFERRED, *, hold: bool = False) -> Settlement:
    """The end of attempt 7."""
    return Settlement(7, "msg_1", NOW, 0.0, AttemptOutcome.SENT, True, None, 0, (), next_work, NOW, hold)


@pytest.mark.parametrize(
    ("before", "ending", "results", "expected"),
    [
        (state(Work.SENDING), settlement(), [S, S], Next(Work.DONE, tries=1)),
        (state(Work.SENDING), settlement(), [S, R], Next(Work.DONE, tries=1)),
        (state(Work.SENDING), settlement(), [S, P], Next(Work.DEFERRED, AT, tries=1)),
        (state(Work.SENDING), settlement(Work.QUEUED), [U, P], Next(Work.QUEUED, AT, tries=1)),
        (state(Work.SENDING), settlement(Work.HELD), [P], Next(Work.HELD, tries=1)),
        (state(Work.SENDING), settlement(), [U], Next(Work.DONE, tries=1)),
        (state(Work.SENDING), settlement(hold=True), [U, S], Next(Work.HELD, hold_unknown=True, tries=1)),
        (state(Work.SENDING), settlement(hold=True), [U, P], Next(Work.DEFERRED, AT, True, 1)),
        (state(Work.SENDING, unknown=1, hold=True), settlement(), [U, S], Next(Work.HELD, None, True, 1)),
        # another attempt holds it: it goes on sending
        (state(Work.SENDING, mine=False), settlement(), [S], Next(Work.SENDING, tries=1)),
        # late truth
        (state(Work.DEFERRED), settlement(), [S], Next(Work.DONE, tries=1)),
        (state(Work.DEFERRED), settlement(), [P, S], Next(Work.DEFERRED, 1, tries=1)),
        (state(Work.HELD, unknown=1), settlement(), [S], Next(Work.DONE, tries=1)),
        (state(Work.HELD, unknown=1), settlement(), [P], Next(Work.QUEUED, AT, tries=1)),
        (state(Work.HELD, unknown=2), settlement(), [P, U], Next(Work.HELD, None, True, 1)),
        (state(Work.HELD), settlement(), [P], Next(Work.HELD, tries=1)),
        (state(Work.DONE), settlement(), [P], Next(Work.QUEUED, AT, tries=1)),
        (state(Work.DONE), settlement(hold=True), [U], Next(Work.DONE, tries=1)),
    ],
)
def test_where_a_settlement_leads(before: State, ending: Settlement, results: list[Result], expected: Next) -> None:
    assert destination(before, ending, results, is_first=True) == expected


def test_a_correction_counts_no_try() -> None:
    ending = Settlement(7, "m", NOW, 0.0, AttemptOutcome.SENT, True, None, 0, (), resend_unknown=True)
    assert destination(state(Work.DONE), ending, [S], is_first=False) == Next(Work.DONE)
    assert destination(state(Work.SENDING), ending, [P], is_first=True) == Next(Work.QUEUED, AT, False, 1, 1)


@pytest.mark.parametrize("work", Work)
def test_every_decision_is_a_legal_move(work: Work) -> None:
    for results, mine, hold in itertools.product(itertools.product([P, S, U], repeat=2), (True, False), (True, False)):
        before = state(work, mine=mine, unknown=1)
        goals = [destination(before, settlement(hold=hold), results, is_first=True)]
        if P not in results:
            goals.append(at_rest(before, results))
        if U not in results:
            goals.append(after_resolving(before, results, AT))
        for goal in goals:
            assert goal.work is work or goal.work in WORK_MOVES[work], (before, results, goal)
            assert (goal.due_at is not None) == (goal.work in (Work.QUEUED, Work.DEFERRED))
            assert P not in results or goal.work is not Work.DONE
    assert unmoved(state(work)).work is work


@pytest.mark.parametrize(
    ("work", "hold", "results", "expected"),
    [
        (Work.QUEUED, False, [C], Work.DONE),
        (Work.QUEUED, False, [C, U], Work.DONE),
        (Work.QUEUED, True, [C, U], Work.HELD),
        (Work.HELD, False, [C, U], Work.HELD),
        (Work.HELD, True, [C, S], Work.DONE),
        (Work.SENDING, True, [C, C], Work.DONE),
    ],
)
def test_where_a_message_comes_to_rest(work: Work, hold: bool, results: list[Result], expected: Work) -> None:
    assert at_rest(state(work, hold=hold), results).work is expected


# -- forms of values


@given(st.datetimes(timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))))
def test_an_instant_survives_to_the_microsecond(at: datetime) -> None:
    assume(timedelta(days=2) < at - datetime.min.replace(tzinfo=UTC) < timedelta(days=3_650_000))
    assert instant(micros(at)) == at
    assert instant(micros(at)).tzinfo is UTC


def test_nothing_stays_nothing() -> None:
    assert (micros(None), instant(None), packed(None), unpacked(None), printable(None)) == (None,) * 5
    assert span(timedelta(days=1, microseconds=1)) == 86_400_000_001


@given(st.text(), st.integers(200, 599), st.none() | st.just("4.7.500"), st.sampled_from(Phase))
def test_a_reply_survives(text: str, code: int, enhanced: str | None, phase: Phase) -> None:
    reply = Reply(code, enhanced, text, phase)
    assert unpacked(packed(reply)) == reply


@given(st.text(st.characters()))
def test_whatever_a_server_says_becomes_printable(text: str) -> None:
    shown = printable(text)
    assert shown is not None
    shown.encode("utf-8")


# -- rolling windows


def window_db(*used: tuple[int, int]) -> apsw.Connection:
    """Rows of tenant 1: seconds and recipients."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE messages (tenant, seq, recipients)")
    db.execute("CREATE INDEX messages_tenant ON messages (tenant, seq, recipients)")
    db.executemany("INSERT INTO messages VALUES (1, ?, ?)", [(second * 1_000_000, count) for second, count in used])
    return db


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 5)), max_size=40).map(sorted),
    st.integers(0, 20),
    st.sampled_from([10, 60, 900]),
)
def test_a_window_is_never_too_lenient_and_agrees_with_the_rows(
    arrivals: list[tuple[int, int]], quota: int, length: int
) -> None:
    """Counted along, it equals a count of the rows at every arrival: here no two arrivals share a step."""
    policy = QuotaPolicy("r", "recipients", quota, length)
    windows = Windows(window_db())
    taken: list[tuple[int, int]] = []
    for second, count in arrivals:
        used = sum(each for at, each in taken if at > second - length)
        (state_,) = windows.states(1, [policy], second * 1_000_000, count)
        assert state_.remaining == max(0, quota - used)
        assert (state_.reset_seconds == 0) == (used + count <= quota)
        if state_.reset_seconds and count <= quota:
            later = second + state_.reset_seconds
            assert sum(each for at, each in taken if at > later - length) + count <= quota
            assert sum(each for at, each in taken if at > later - 1 - length) + count > quota
        if not state_.reset_seconds:
            taken.append((second, count))
            windows.add(1, [policy], second * 1_000_000, count)
    fresh = Windows(window_db(*taken))
    end = 4_000 * 1_000_000
    assert fresh.states(1, [policy], end, 1) == windows.states(1, [policy], end, 1)


def test_a_busy_window_is_kept_in_a_thousand_steps() -> None:
    policy = QuotaPolicy("r", "messages", 1_000_000, 86_400)
    windows = Windows(window_db())
    for number in range(20_000):
        windows.add(1, [policy], number * 20 * 1_000_000, 1)
    (window,) = windows._windows.values()
    assert len(window._steps) <= 1001
    (state_,) = windows.states(1, [policy], 19_999 * 20 * 1_000_000, 1)
    exact = 86_400 // 20
    assert exact <= 1_000_000 - state_.remaining <= exact * 1.002
