"""A judge that lets everything pass proves nothing: each broken promise is found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.crash.judging import Arrival, is_lost, judge, tally
from tests.crash.letters import Book, Letter
from tests.crash.pacing import Seen, longest_pause, most_within

ONE = Arrival("<m1@x.test>", "Mon, 1 Jan 2024 00:00:00 +0000", b"one")
LATER = Arrival("<m1@x.test>", "Mon, 1 Jan 2024 00:00:09 +0000", b"other")


def view(status: str, *outcomes: str) -> dict[str, Any]:
    return {"status": status, "message_id": "<m1@x.test>", "attempts": [{"outcome": each} for each in outcomes]}


@pytest.mark.parametrize(
    ("policy", "told", "arrivals", "wrong", "lost"),
    [
        ("hold", view("sent", "sent"), [ONE], "", False),
        ("hold", view("held", "unknown"), [], "", False),
        ("hold", view("held", "unknown"), [ONE], "", False),
        ("resend", view("sent", "unknown", "sent"), [ONE, ONE], "", False),
        ("resend", view("unknown", "unknown", "unknown"), [], "", False),
        ("hold", None, [ONE], "not known", True),
        ("hold", view("sent", "sent"), [], "never arrived", True),
        ("hold", view("held", "canceled"), [], "without an unknown", True),
        ("hold", view("queued"), [], "ended as queued", True),
        ("hold", view("sent", "sent"), [ONE, ONE], "arrived 2 times", False),
        ("hold", view("sent", "unknown", "sent"), [ONE], "tried again", False),
        ("resend", view("sent", "sent"), [ONE, ONE], "no attempt is unknown", False),
        ("resend", view("sent", "unknown", "sent"), [ONE, ONE, ONE], "arrived 3 times", False),
        ("resend", view("sent", "unknown", "sent"), [ONE, LATER], "different Date", False),
        ("resend", view("failed", "refused"), [], "ended as failed", True),
    ],
)
def test_a_letter_is_judged_by_what_was_promised(policy, told, arrivals, wrong: str, lost: bool) -> None:
    faults = judge(Letter(1, policy, "pick-after-commit", "msg_1"), told, arrivals)
    assert bool(faults) == bool(wrong), faults
    assert wrong in " ".join(faults)
    assert is_lost(faults) == lost


def test_what_nobody_was_told_of_and_what_was_never_accepted_are_faults() -> None:
    letters = [Letter(1, "hold", "the end", None)]
    found = tally(Counter({"the end": 1}), letters, {}, [ONE])
    assert len(found.faults) == 2
    assert "the end" in found.table()


def test_a_key_that_is_accepted_twice_under_different_names_is_a_fault() -> None:
    book = Book()
    letter = book.begin()
    for id_ in ("msg_1", "msg_1", "msg_2"):
        book.tell(letter, id_)
    assert (len(book.faults), book.repeats) == (1, 2)


def test_the_busiest_minute_and_the_longest_pause_are_found() -> None:
    moments = [0.0, 59.9, 60.0, 119.8, 119.88, 200.0]
    assert most_within(moments, 60.0) == 4
    assert longest_pause(moments) == pytest.approx(80.12)


@pytest.mark.parametrize(
    ("moments", "counters", "wrong"),
    [
        ((1.0, 2.0), {}, ""),
        ((), {}, "nothing was sent at all"),
        (tuple(each / 100 for each in range(31)), {}, "31 messages in 60 s"),
        ((1.0,), {"max_sessions_open": 4}, "4 sessions"),
        ((1.0,), {"limits": {"rate": 1}}, "refused by its limits"),
        ((1.0, 80.0), {}, "for 79 s"),
    ],
)
def test_too_much_and_too_little_are_faults_of_pace(moments, counters, wrong: str) -> None:
    last = moments[-1] if moments else 1.0
    seen = Seen(5, last, moments, {"max_sessions_open": 3, "limits": {}, "auth_ok": 1, **counters})
    assert bool(seen.faults()) == bool(wrong), seen.faults()
    assert wrong in " ".join(seen.faults())
    assert str(len(moments)) in seen.table()
