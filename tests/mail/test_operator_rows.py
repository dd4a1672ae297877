"""The rows that an operator adds to the catalogue: what they mean, and how their faults are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.mail.replies import CATALOGUE
from app.mail.replies.operator import RowFaults, operator_rows
from app.mail.reply import Phase, Reply
from app.mail.rule import Effect, Outcome, Scope
from app.mail.verdict import judge

_STOREDRV = "STOREDRV.Submission.Exception:"


def test_an_operators_row_comes_before_the_catalogue() -> None:
    rows = operator_rows(
        [
            {
                "phase": "dot",
                "code": 554,
                "enhanced": "5.2.0",
                "text": r"exception:Something\w+",
                "outcome": "deferred",
                "scope": "message",
                "wait": "10m",
                "cause": "Known here.",
                "cure": "Wait.",
            }
        ]
    )
    rules = (*rows, *CATALOGUE)
    verdict = judge(Reply(554, "5.2.0", f"{_STOREDRV}SomethingNewException", Phase.DOT), rules)
    assert (verdict.outcome, verdict.scope) == (Outcome.DEFERRED, Scope.MESSAGE)
    assert (verdict.retry_after, verdict.cause, verdict.cure) == (600, "Known here.", "Wait.")
    assert judge(Reply(554, "5.2.0", f"{_STOREDRV}SendAsDeniedException", Phase.DOT), rules).family == "send-as"


@pytest.mark.parametrize(
    ("table", "effect"),
    [
        ({"outcome": "kept"}, Effect.PARK),
        ({"outcome": "kept", "scope": "mailbox", "wait": 60}, Effect.PARK),
        ({"outcome": "kept", "scope": "connection", "wait": timedelta(hours=1)}, Effect.PARK),
        ({"outcome": "kept", "scope": "session"}, Effect.RECONNECT),
        ({"outcome": "rejected", "scope": "sender"}, Effect.STRIKE),
        ({"outcome": "rejected"}, Effect.NONE),
        ({"outcome": "deferred", "scope": "mailbox"}, Effect.NONE),
    ],
)
def test_the_effect_of_an_operators_row_follows_from_outcome_and_scope(table: dict[str, Any], effect: Effect) -> None:
    (row,) = operator_rows([{"code": 550, **table}])
    assert row.effect is effect


def test_an_operators_row_may_leave_out_what_goes_without_saying() -> None:
    """None is as good as absent; a class of codes, patterns of enhanced codes and several phases can be said."""
    (row,) = operator_rows(
        [{"phase": ["rcpt"], "code": "4xx", "enhanced": "4.7.*", "text": None, "outcome": "deferred", "wait": None}]
    )
    assert row.scope is Scope.RECIPIENT
    assert row.fits(Reply(450, "4.7.25", "", Phase.RCPT), "")
    assert not row.fits(Reply(450, "4.8.25", "", Phase.RCPT), "")
    assert not row.fits(Reply(450, "4.7.25", "", Phase.MAIL), "")


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"outcome": "rejected"}, "replies[0]: needs"),
        ({"code": 550}, "replies[0].outcome: must"),
        ({"code": 550, "outcome": "sent"}, "replies[0].outcome: must"),
        ({"code": 550, "outcome": "unknown"}, "replies[0].outcome: must"),
        ({"code": 250, "outcome": "rejected"}, "replies[0].code: must"),
        ({"code": True, "outcome": "rejected"}, "replies[0].code: must"),
        ({"code": "9xx", "outcome": "rejected"}, "replies[0].code: must"),
        ({"enhanced": "5.7", "outcome": "rejected"}, "replies[0].enhanced: must"),
        ({"enhanced": "2.0.0", "outcome": "rejected"}, "replies[0].enhanced: must"),
        ({"enhanced": 5.7, "outcome": "rejected"}, "replies[0].enhanced: must"),
        ({"text": "(", "outcome": "rejected"}, "replies[0].text: is no regular expression"),
        ({"text": ".*", "outcome": "rejected"}, "replies[0].text: fits the empty text"),
        ({"text": " ", "outcome": "rejected"}, "replies[0].text: must"),
        ({"code": 550, "outcome": "rejected", "phase": "later"}, "replies[0].phase: must"),
        ({"code": 550, "outcome": "rejected", "phase": 7}, "replies[0].phase: must"),
        ({"code": 550, "outcome": "rejected", "scope": "world"}, "replies[0].scope: must"),
        ({"code": 550, "outcome": "kept", "scope": "message"}, "replies[0].scope: must be mailbox"),
        ({"code": 535, "outcome": "rejected", "phase": "auth"}, "replies[0].outcome: must be kept"),
        ({"code": 550, "outcome": "deferred", "wait": "soon"}, "replies[0].wait: must"),
        ({"code": 550, "outcome": "deferred", "wait": 0}, "replies[0].wait: must"),
        ({"code": 550, "outcome": "deferred", "wait": float("nan")}, "replies[0].wait: must"),
        ({"code": 550, "outcome": "deferred", "wait": "9999999d"}, "replies[0].wait: must"),
        ({"code": 550, "outcome": "rejected", "cure": 7}, "replies[0].cure: must"),
        ({"code": 550, "outcome": "rejected", "colour": "red"}, "replies[0].colour: is not known"),
    ],
)
def test_a_faulty_row_is_told_by_its_place(table: dict[str, Any], place: str) -> None:
    with pytest.raises(RowFaults) as caught:
        operator_rows([table])
    assert caught.value.faults[0].startswith(place), caught.value.faults


def test_all_faults_of_all_rows_are_told_together() -> None:
    with pytest.raises(RowFaults) as caught:
        operator_rows([{"outcome": "kept", "scope": "x"}, {"code": 550, "outcome": "kept"}, {"code": 1}])
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "replies[0]",
        "replies[0].scope",
        "replies[2].outcome",
        "replies[2].code",
    ]
