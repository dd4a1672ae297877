"""Every kind of problem, told in one form."""

from __future__ import annotations

import json

import pytest

from app.queue.contract import StoreError
from app.web.kinds import KINDS, TABLE
from app.web.problems import Fault, Problem, answer, invalid, pointer, problems_page
from tests.support.golden import compare

CONTRACT = """
malformed-json invalid-idempotency-key unauthorized insufficient-scope network-not-allowed sender-not-allowed
recipient-not-allowed priority-not-allowed not-found method-not-allowed request-timeout idempotency-in-progress
message-not-cancelable message-not-schedulable nothing-to-retry nothing-to-resolve content-erased payload-too-large
message-too-large unsupported-media-type validation-error idempotency-key-reused too-many-recipients smtputf8-required
quota-exceeded daily-quota-exceeded too-many-failures queue-full disk-full busy draining storage-unavailable
commit-uncertain internal-error
"""


def test_every_kind_of_the_contract_is_there_once() -> None:
    """By its code."""
    codes = [kind.code for kind in TABLE]
    assert len(set(codes)) == len(codes)
    assert set(CONTRACT.split()) <= set(codes)


def test_a_type_is_the_same_everywhere() -> None:
    """Absolute, and ending in the code (but for IANA's)."""
    for kind in TABLE:
        assert kind.type.startswith("https://")
        assert kind.type.endswith(kind.code) or "iana.org" in kind.type


def test_what_passes_by_itself_says_when() -> None:
    """429 and 503 always carry Retry-After."""
    for kind in TABLE:
        if kind.status == 503:
            assert "retry-after" in answer(Problem(kind.code), "req_1", "/").headers


def test_the_answer_has_the_members_of_the_contract() -> None:
    """In the right type, with the request's name."""
    response = answer(invalid([Fault("#/bccc", "extra_forbidden", "unknown field")]), "req_1", "/v1/messages")
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body) == {
        "type": "https://postroom.example/problems/validation-error",
        "code": "validation-error",
        "title": "The request did not validate",
        "status": 422,
        "detail": "1 field is invalid",
        "instance": "/v1/messages",
        "request_id": "req_1",
        "errors": [{"pointer": "#/bccc", "code": "extra_forbidden", "detail": "unknown field"}],
    }


def test_a_strange_path_is_not_repeated() -> None:
    """It could hold anything."""
    assert "instance" not in json.loads(answer(Problem("not-found"), "req_1", "/<script>").body)
    assert "instance" not in json.loads(answer(Problem("not-found"), "req_1", "/" + "a" * 300).body)


def test_401_tells_how_to_authenticate() -> None:
    """RFC 9110 §11.6.1."""
    assert answer(Problem("unauthorized"), "req_1", "/").headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((), "#"),
        (("to", 1, "email"), "#/to/1/email"),
        (("headers", "X-A/B~C"), "#/headers/X-A~1B~0C"),
        (("naïve key",), "#/na%C3%AFve%20key"),
        (("\ud800",), "#/%3F"),
        (("k" * 500,), "#/" + "k" * 64),
    ],
)
def test_a_pointer_is_a_uri_fragment(steps: tuple[object, ...], text: str) -> None:
    """RFC 6901 §6."""
    assert pointer(steps) == text


def test_the_page_of_problems_is_up_to_date() -> None:
    """``docs/problems.md`` is written from the table."""
    compare("docs/problems.md", problems_page())


def test_the_store_speaks_the_same_words() -> None:
    """Each reason of a ``StoreError`` is a kind."""
    for word in (StoreError.__doc__ or "").split("(``")[1].split("``)")[0].split():
        assert word in KINDS
