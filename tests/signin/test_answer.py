"""Every answer of a token endpoint is a token, a trouble that passes, or a refusal; nothing secret is repeated."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.signin.answer import Answer, Busy, Issued, Refusal, read_answer

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def answer_to(status: int, document: Any, headers: dict[str, str] | None = None, sent: tuple[str, ...] = ()) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_answer(status, headers or {}, body, sent=sent, now=NOW)


def test_a_token_is_read_with_its_life_and_the_refresh_token_that_came_with_it() -> None:
    document = {"token_type": "bearer", "expires_in": 3599, "access_token": "abc.def", "refresh_token": "next"}
    answer = answer_to(200, document)
    assert isinstance(answer, Issued)
    assert (answer.value.get_secret_value(), answer.life) == ("abc.def", 3599)
    assert answer.refresh_token is not None
    assert answer.refresh_token.get_secret_value() == "next"


@pytest.mark.parametrize(
    ("expires_in", "life"), [("3599", 3599), (3599.5, 3599.5), (10**15, 28 * 3600), (float("inf"), 28 * 3600)]
)
def test_a_life_is_believed_up_to_the_longest_that_exists(expires_in: object, life: float) -> None:
    answer = answer_to(200, {"access_token": "abc", "expires_in": expires_in})
    assert isinstance(answer, Issued)
    assert answer.life == life


@pytest.mark.parametrize("expires_in", [None, 0, -5, 0.5, "soon", True, [], float("nan"), 10**400])
def test_a_token_without_a_life_is_no_token(expires_in: object) -> None:
    assert _result(answer_to(200, {"access_token": "abc", "expires_in": expires_in})) == "malformed"


@pytest.mark.parametrize("token", [None, "", 7, "two words", "line\nbreak", "soh\x01", "ümlaut", "x" * 40_000])
def test_what_cannot_stand_in_the_sasl_string_is_no_token(token: object) -> None:
    assert _result(answer_to(200, {"access_token": token, "expires_in": 3600})) == "malformed"


def test_a_token_of_another_type_is_no_token() -> None:
    assert _result(answer_to(200, {"access_token": "a", "expires_in": 3600, "token_type": "pop"})) == "malformed"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"access_token": "a'])
@pytest.mark.parametrize("status", [200, 400, 404])
def test_what_is_no_json_object_is_a_trouble_and_no_refusal(status: int, body: bytes) -> None:
    answer = answer_to(status, body, {"content-type": "text/html"})
    assert _result(answer) == "malformed"
    assert "text/html" in answer.text


@pytest.mark.parametrize("document", [{}, {"error": {"code": "NotFound"}}, {"error": "two words"}, {"error": "x" * 99}])
def test_an_error_that_is_not_an_oauth_error_is_a_trouble(document: object) -> None:
    assert _result(answer_to(404, document)) == "malformed"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    assert _result(answer_to(status, {}, {"location": "https://elsewhere.example"})) == "malformed"


@pytest.mark.parametrize(
    ("status", "document", "result"),
    [
        (429, {}, "throttled"),
        (500, {}, "server-error"),
        (503, {"error": "invalid_client"}, "server-error"),
        (408, {}, "server-error"),
        (400, {"error": "temporarily_unavailable"}, "server-error"),
        (400, {"error": "invalid_request", "error_codes": [90033]}, "server-error"),
        (400, {"error": "invalid_grant", "error_description": "AADSTS50196: a loop"}, "server-error"),
    ],
)
def test_what_passes_by_waiting_is_a_trouble(status: int, document: object, result: str) -> None:
    answer = answer_to(status, document, {"retry-after": "17"})
    assert _result(answer) == result
    assert answer.retry_after == 17


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", None, 120),
        ("0", None, 0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", None, 30),
        # Measured by the server's own clock, which is an hour ahead of ours.
        ("Mon, 23 Nov 2026 13:00:30 GMT", "Mon, 23 Nov 2026 13:00:00 GMT", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", None, 0),
        ("soon", None, None),
        ("Mon, 23 Nov 99999999999999999999 12:00:30 GMT", None, None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", "Mon, 23 Nov 2026 99999999999999999999:00:00 GMT", 30),
        ("-5", None, None),
        ("", None, None),
        ("9" * 5000, None, 999_999_999),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, date: str | None, seconds: float | None) -> None:
    headers = {"retry-after": value} | ({"date": date} if date else {})
    answer = answer_to(429, {}, headers)
    assert isinstance(answer, Busy)
    assert answer.retry_after == seconds


def test_a_refusal_keeps_every_code_and_both_ids() -> None:
    description = (
        "AADSTS7000215: Invalid client secret provided. Ensure the value is sent.\r\n"
        "Trace ID: 1111\r\nCorrelation ID: 2222\r\nTimestamp: 2026-11-23 12:00:00Z"
    )
    document = {
        "error": "invalid_client",
        "error_description": description,
        "error_codes": [50012, 7000215],
        "trace_id": "1111",
        "correlation_id": "2222",
    }
    assert answer_to(401, document) == Refusal(
        code="AADSTS7000215",
        text="AADSTS7000215: Invalid client secret provided. Ensure the value is sent.",
        error="invalid_client",
        error_codes=(7000215, 50012),
        trace_id="1111",
        correlation_id="2222",
    )


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"error": "invalid_client", "error_codes": [700016]}, "AADSTS700016"),
        ({"error": "invalid_client", "error_description": "AADSTS90002: Tenant not found."}, "AADSTS90002"),
        ({"error": "invalid_scope"}, "invalid_scope"),
        ({"error": "invalid_grant", "error_codes": ["x", True, -1, 10**30]}, "invalid_grant"),
    ],
)
def test_the_reason_is_the_aadsts_code_where_there_is_one(document: object, code: str) -> None:
    answer = answer_to(400, document)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert answer.text


def test_a_secret_that_is_echoed_does_not_come_through() -> None:
    secret = "p+s/cret~Value8Q="
    echo = f"Bad secret {secret} and p%2Bs%2Fcret~Value8Q%3D in the form"
    answer = answer_to(
        401,
        {"error": "invalid_client", "error_description": echo, "trace_id": secret, "correlation_id": f"x {secret}"},
        sent=(secret, ""),
    )
    assert isinstance(answer, Refusal)
    assert answer.text == "Bad secret [secret] and [secret] in the form"
    assert (answer.trace_id, answer.correlation_id) == ("[secret]", "x [secret]")


def test_a_description_is_one_printable_line_of_bounded_length() -> None:
    answer = answer_to(400, {"error": "invalid_grant", "error_description": "a\r\n\x1b[31mb\u2028c\ud800" + "d" * 9000})
    assert isinstance(answer, Refusal)
    assert answer.text.startswith("a [31mb c d")
    assert len(answer.text) == 500
    assert answer.text.isprintable()


def _result(answer: Answer) -> str:
    assert isinstance(answer, Busy), answer
    return answer.result
