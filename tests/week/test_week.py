"""A week of one mailbox, in its short form; ``make week`` lives the long one."""

from __future__ import annotations

from tests.support.lapse import run
from tests.week.story import SHORT
from tests.week.telling import lived


def test_forty_thousand_recipients_of_one_day_are_settled_by_day_five_and_no_limit_is_met() -> None:
    run(lambda loop: lived(loop, SHORT, 5, print))
