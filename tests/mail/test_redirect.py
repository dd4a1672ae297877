"""The head of a redirected message tells for whom it was, whoever and however many they are."""

from __future__ import annotations

import pytest

from app.intake.rules import recipients_of, redirected
from app.mail.address import parse_address
from tests.mail.letters import draft, named, parsed, plan_of, written

STAGING = parse_address("staging@contoso.test")


def test_a_draft_that_is_not_redirected_stays_as_it_is() -> None:
    asked = draft(headers=(("X-Postroom-Original-To", "mine"),))
    assert redirected(asked, None) is asked


def test_each_recipient_keeps_its_name_and_is_reached_at_the_one_address() -> None:
    asked = redirected(
        draft(to=(named(None, "a@x.test"), named(None, "b@x.test")), cc=(named(None, "A@x.test"),)), STAGING
    )
    told = [(each.address, each.key, each.wire) for each in recipients_of(asked)]
    assert told == [("a@x.test", "a@x.test", str(STAGING)), ("b@x.test", "b@x.test", str(STAGING))]


@pytest.mark.parametrize("count", [1, 500])
def test_the_head_tells_every_recipient_once_in_lines_that_fit(count: int) -> None:
    hidden = tuple(named(None, f"recipient-number-{number}@customer.example") for number in range(count))
    asked = redirected(draft(to=(named(None, "a@x.test"),), cc=(named(None, "A@x.test"),), bcc=hidden), STAGING)
    octets = written(asked)
    told = parsed(octets)["X-Postroom-Original-To"]
    assert told.split(", ") == ["a@x.test", *(each.address.wire for each in hidden)]


def test_a_redirection_to_an_address_outside_ascii_needs_smtputf8() -> None:
    assert plan_of(redirected(draft(), parse_address("prüfung@contoso.test"))).needs_smtputf8
