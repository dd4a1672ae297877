"""The traps of other mail writers, one by one: each of these has sent mail to strangers, or sent none at all."""

from __future__ import annotations

import time

import pytest

from app.mail.headers import check_header
from app.mail.plan import ContentError
from tests.mail.letters import draft, named, parsed, plan_of, read, unfolded, written

LONG_NAME = "A very long display name of a department that goes on and on, with a comma inside it, evil@example.net"


@pytest.mark.parametrize("name", ["X-A: b\r\nBcc", "X-A\r\nBcc", "X A", "X-A:", "", "X-Ä", "X-A\x00", "x" * 77])
def test_a_header_name_cannot_bring_a_second_header(name: str) -> None:
    assert check_header(name, "x") is not None
    with pytest.raises(ContentError):
        plan_of(draft(headers=((name, "x"),)))


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: x@example.net", "a\nb", "a\rb", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\u2029b"]
)
def test_a_header_value_cannot_begin_another_line(value: str) -> None:
    assert check_header("X-A", value) is not None
    for changes in ({"subject": value}, {"to": (named(value),)}, {"headers": (("X-A", value),)}):
        with pytest.raises(ContentError):
            plan_of(draft(**changes))


@pytest.mark.parametrize(
    "name", [LONG_NAME, LONG_NAME * 4, f'"{LONG_NAME}', f"{LONG_NAME} <evil@example.net>", "ä" + LONG_NAME]
)
def test_a_long_name_with_a_comma_stays_one_recipient(name: str) -> None:
    letter = read(written(draft(to=(named(name),), cc=(named(name, "c@customer.example"), named("x")))))
    assert letter.addresses["To"] == [(name, "ada@customer.example")]
    assert letter.addresses["Cc"] == [(name, "c@customer.example"), ("x", "ada@customer.example")]


def test_an_address_is_never_an_encoded_word() -> None:
    octets = written(draft(to=(named("Jörg", "jörg@bücher.example"),), sender=named(None, "a@例え.テスト")))
    assert "<jörg@xn--bcher-kva.example>".encode() in octets
    assert b"<a@xn--r8jz45g.xn--zckzah>" in octets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Unsubscribe", f"<https://example.com/{'u' * 900}>"),
        ("List-Unsubscribe", f"<https://example.com/{'u' * 300},x>, <mailto:off@example.com?subject={'s' * 300}>"),
        ("In-Reply-To", f"<{'i' * 600}@example.com>"),
        ("References", " ".join(f"<{'r' * 70}{place}@example.com>" for place in range(11))),
        ("X-Token", "t" * 990),
        ("X-Tokens", " ".join("t" * 200 for _ in range(4))),
    ],
)
def test_a_long_structured_value_is_neither_encoded_nor_broken(name: str, value: str) -> None:
    octets = written(draft(headers=((name, value),)))
    assert b"=?" not in octets
    assert (unfolded(parsed(octets), name) or "").strip() == value


def test_a_bell_or_an_escape_is_refused_in_a_header_and_a_nul_in_a_text() -> None:
    for changes in (
        {"subject": "a\x07"},
        {"to": (named("a\x1b[0m"),)},
        {"headers": (("X-A", "\x00"),)},
        {"text": "\x00"},
    ):
        with pytest.raises(ContentError):
            plan_of(draft(**changes))


def test_a_lone_carriage_return_in_a_text_becomes_a_line_break() -> None:
    assert read(written(draft(text="a\rb"))).parts[0].octets == b"a\r\nb"


@pytest.mark.parametrize("name", ["Date", "date", "Message-ID", "MESSAGE-ID"])
def test_date_and_message_id_are_never_the_callers(name: str) -> None:
    assert check_header(name, "Wed, 25 Nov 2026 10:00:00 +0000") is not None


def test_half_a_surrogate_pair_is_refused_before_anything_is_accepted() -> None:
    for changes in (
        {"subject": "\ud800"},
        {"to": (named("\ud800"),)},
        {"text": "\ud800"},
        {"html": "\ud800"},
        {"headers": (("X-A", "\ud800"),)},
        {"headers": (("References", "<\ud800@example.com>"),)},
    ):
        with pytest.raises(ContentError):
            plan_of(draft(**changes))


def test_bcc_is_nowhere_in_the_content() -> None:
    octets = written(draft(bcc=(named("Hidden Person", "hidden@customer.example"),)))
    assert b"idden" not in octets
    assert b"bcc" not in octets.lower()


def test_bodies_need_no_eight_bits() -> None:
    assert written(draft(text="Grüße " * 400, html="<p>漢字</p>", subject="ü")).isascii()


def test_five_hundred_recipients_take_no_time() -> None:
    addresses = tuple(named(f"Name, {place}", f"r{place}@customer.example") for place in range(500))
    message = draft(to=addresses)
    start = time.perf_counter()
    plan_of(message)
    assert time.perf_counter() - start < 0.1
    assert len(read(written(message)).addresses["To"]) == 500
