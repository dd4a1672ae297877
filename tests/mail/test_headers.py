"""Which headers a caller may add, and how they are written."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest

from app.mail.headers import check_header, encoded_words, unstructured
from app.mail.plan import ContentError
from tests.mail.letters import draft, parsed, plan_of, unfolded, written

OURS = (
    "From",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Sender",
    "Reply-To",
    "Return-Path",
    "Received",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Anything",
    "DKIM-Signature",
    "ARC-Seal",
    "ARC-Message-Signature",
    "Authentication-Results",
    "Resent-From",
    "Resent-Bcc",
)


@pytest.mark.parametrize("name", [*OURS, *(name.lower() for name in OURS), *(name.upper() for name in OURS)])
def test_what_the_service_writes_cannot_be_given(name: str) -> None:
    assert check_header(name, "x") == "is written by the service and cannot be given"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Entity-Ref-ID", "8812"),
        ("x-note", "Ünïcode is free here"),
        ("X-Empty", ""),
        ("X-Full", "x" * 998),
        ("x" * 76, "1"),
        ("Comments", "free text"),
        ("In-Reply-To", "<a.b@example.com>"),
        ("References", "<a@example.com> <b@[192.0.2.1]>  <c$d=e@example.com>"),
        ("List-Unsubscribe", "<https://example.com/u?a=1,2>"),
        ("List-Unsubscribe", "<mailto:off@example.com?subject=off>, <https://example.com/u>"),
        ("list-unsubscribe", " <https://example.com/u> "),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Auto-Submitted", "auto-generated"),
        ("Auto-Submitted", 'auto-replied; owner-email="a@example.com"'),
        ("Auto-Submitted", "no"),
        ("Importance", "High"),
        ("List-Id", "News <news.example.com>"),
        ("Precedence", "bulk"),
    ],
)
def test_what_is_well_formed_may_be_given(name: str, value: str) -> None:
    assert check_header(name, value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Long", "x" * 999),
        ("X-Long", "ä" * 500),
        ("In-Reply-To", "a@example.com"),
        ("In-Reply-To", "<a>"),
        ("In-Reply-To", "<a@b@c> x"),
        ("In-Reply-To", "<jörg@example.com>"),
        ("In-Reply-To", ""),
        ("References", "<a@example.com>,<b@example.com>"),
        ("References", "<a@example.com><b@example.com>"),
        ("References", f"<{'a' * 996}@b>"),
        ("List-Unsubscribe", "https://example.com/u"),
        ("List-Unsubscribe", "<https://example.com/ü>"),
        ("List-Unsubscribe", "<https://example.com/a b>"),
        ("List-Unsubscribe", "<example.com/u>"),
        ("List-Unsubscribe", "<https://example.com/u> <mailto:x@example.com>"),
        ("List-Unsubscribe-Post", "one-click"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click; x"),
        ("Auto-Submitted", "ünknown"),
        ("Auto-Submitted", "auto generated"),
        ("Importance", "urgent"),
        ("List-Id", "Nachrichten für alle <news.example.com>"),
        ("Disposition-Notification-To", "jörg@example.com"),
    ],
)
def test_what_is_malformed_is_refused_without_being_repeated(name: str, value: str) -> None:
    fault = check_header(name, value)
    assert fault
    assert len(value) < 4 or value not in fault


def test_one_click_needs_an_https_uri() -> None:
    post = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    for others in (
        (),
        (("List-Unsubscribe", "<mailto:off@example.com>"),),
        (("List-Unsubscribe", "<http://x.example>"),),
    ):
        with pytest.raises(ContentError) as caught:
            plan_of(draft(headers=(*others, post)))
        assert caught.value.pointer == "/headers/List-Unsubscribe-Post"
    written(draft(headers=(post, ("List-Unsubscribe", "<mailto:off@example.com>, <HTTPS://example.com/u>"))))


def test_a_list_of_uris_is_folded_between_them() -> None:
    value = f"<https://example.com/{'u' * 60}>, <mailto:off@example.com>"
    octets = written(draft(headers=(("List-Unsubscribe", value),)))
    assert f"List-Unsubscribe: <https://example.com/{'u' * 60}>,\r\n <mailto:off@example.com>\r\n".encode() in octets


@pytest.mark.parametrize(
    "value",
    [
        "short",
        "word " * 40 + "end",
        "two  spaces " * 12 + "end",
        "x" * 985,
        "a " + "x" * 995,
        "=?utf-8?Q?a?=",
        " edge ",
        "a" * 70 + "  " + "b" * 78,
        "",
    ],
)
def test_free_text_is_read_back_exactly(value: str) -> None:
    for name in ("Subject", "X-" + "a" * 74):
        lines = unstructured(name, value).removesuffix("\r\n").split("\r\n")
        assert all(len(line) <= 998 for line in lines)
        assert all(line[:1] == " " and line.strip() for line in lines[1:])
        text = "".join(lines).partition(":")[2].removeprefix(" ")
        assert str(make_header(decode_header(text))) == value


@pytest.mark.parametrize("value", [" a", "a ", " "])
def test_a_space_at_an_end_is_encoded_since_readers_drop_it(value: str) -> None:
    assert unstructured("Subject", value).startswith("Subject: =?utf-8?B?")


def test_ascii_text_is_folded_at_78_octets_and_not_encoded() -> None:
    lines = unstructured("Subject", "word " * 40 + "end").split("\r\n")
    assert all(len(line) <= 78 for line in lines)
    assert "=?" not in "".join(lines)


@pytest.mark.parametrize("text", ["ä" * 200, "漢字🚀" * 50, "a🚀" * 40, "x" * 300])
@pytest.mark.parametrize("room", [24, 40, 67, 76])
def test_encoded_words_have_at_most_75_octets_and_whole_characters(text: str, room: int) -> None:
    words = encoded_words(text, room)
    assert len(words[0]) <= room
    assert all(len(word) <= 75 for word in words)
    assert "".join(str(make_header(decode_header(word))) for word in words) == text


def test_headers_keep_the_order_in_which_they_were_given() -> None:
    message = parsed(written(draft(headers=(("X-B", "1"), ("X-A", "2")))))
    assert [name for name in message if name.startswith("X-")] == ["X-B", "X-A"]
    assert unfolded(message, "X-A") == "2"
