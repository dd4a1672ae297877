"""A content has the parts, the lines and the size that its draft asks for."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode, encodebytes
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.mail.address import parse_address
from app.mail.compose import compose, date_line, zone_of
from app.mail.draft import Attachment
from app.mail.plan import ContentError, Zone
from tests.mail.letters import (
    BOUNDARY,
    DATE_OCTETS,
    MESSAGE_ID,
    check_lines,
    crlf,
    draft,
    file,
    named,
    parsed,
    plan_of,
    read,
    unfolded,
    written,
)

LOGO = file(b"png", "logo.png", "image/png", content_id="logo", is_inline=True)
PDF = file(b"pdf")
EML = file(b"From: x\r\n\r\nx", "mail.eml", "message/rfc822")
INVITE = file(b"BEGIN:VCALENDAR", "invite.ics", "text/calendar; method=REQUEST; charset=utf-8")


def shape(message: Any) -> Any:
    """Return the tree of a message: types, multiparts as lists."""
    if not message.is_multipart():
        return message.get_content_type()
    return [message.get_content_subtype(), *(shape(part) for part in message.iter_parts())]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text": "t"}, "text/plain"),
        ({"text": ""}, "text/plain"),
        ({"text": "", "html": "h"}, "text/html"),
        ({"text": None, "html": "<img src='x'>"}, "text/html"),
        ({"text": "t", "html": "h"}, ["alternative", "text/plain", "text/html"]),
        ({"html": "h"}, ["alternative", "text/plain", "text/html"]),
        ({"attachments": (PDF,)}, ["mixed", "text/plain", "application/pdf"]),
        ({"attachments": (LOGO,)}, ["mixed", "text/plain", "image/png"]),
        ({"text": "", "html": "h", "attachments": (LOGO,)}, ["related", "text/html", "image/png"]),
        (
            {"text": "t", "html": "h", "attachments": (PDF, LOGO)},
            ["mixed", ["related", ["alternative", "text/plain", "text/html"], "image/png"], "application/pdf"],
        ),
        ({"attachments": (EML,)}, ["mixed", "text/plain", "application/octet-stream"]),
        ({"attachments": (INVITE,)}, ["alternative", "text/plain", "text/calendar"]),
        (
            {"text": "t", "html": "h", "attachments": (PDF, INVITE)},
            ["mixed", ["alternative", "text/plain", "text/html", "text/calendar"], "application/pdf"],
        ),
    ],
)
def test_only_the_levels_that_are_needed_are_there(changes: dict[str, Any], expected: Any) -> None:
    assert shape(parsed(written(draft(**changes)))) == expected


def test_the_head_has_every_field_once_and_neither_bcc_nor_date() -> None:
    message = draft(
        cc=(named("C", "c@customer.example"),),
        bcc=(named("Hidden", "hidden@customer.example"),),
        reply_to=(named(None, "support@example.com"),),
        subject="Invoice 8812",
        headers=(("X-Entity-Ref-ID", "8812"),),
    )
    octets = written(message)
    head = octets.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head == [
        'From: "Billing" <billing@example.com>',
        "Reply-To: <support@example.com>",
        "To: <ada@customer.example>",
        'Cc: "C" <c@customer.example>',
        "Subject: Invoice 8812",
        f"Message-ID: {MESSAGE_ID}",
        "X-Entity-Ref-ID: 8812",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
    ]
    assert b"hidden" not in octets.lower()


def test_a_message_to_nobody_in_the_open_says_so() -> None:
    octets = written(draft(to=(), bcc=(named(None),)))
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in octets
    assert parsed(octets)["To"].addresses == ()


def test_a_mixed_message_has_related_with_the_type_of_its_root() -> None:
    octets = written(draft(text="t", html="h", attachments=(LOGO,)))
    assert parsed(octets)["Content-Type"].params["type"] == "multipart/alternative"


@pytest.mark.parametrize(
    ("when", "line"),
    [
        (
            datetime(2026, 1, 5, 0, 30, 7, 999, timezone(timedelta(hours=2))),
            b"Date: Sun, 04 Jan 2026 22:30:07 +0000\r\n",
        ),
        (datetime(2026, 11, 25, 10, tzinfo=UTC), b"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\n"),
    ],
)
def test_the_date_line_is_in_utc_and_of_one_length(when: datetime, line: bytes) -> None:
    assert date_line(when) == line
    assert len(line) == DATE_OCTETS


def test_a_date_line_needs_an_aware_instant() -> None:
    with pytest.raises(ValueError, match="aware"):
        date_line(datetime(2026, 1, 5))  # noqa: DTZ001 (the point of the test)


@pytest.mark.parametrize("boundary", ["", "a b", "a\r\nb", 'a"b', "x" * 61])
def test_a_boundary_is_checked(boundary: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        compose(draft(), message_id=MESSAGE_ID, boundary=boundary)


def test_no_boundary_is_the_beginning_of_another() -> None:
    octets = written(draft(text="t", html="h", attachments=(PDF, LOGO)))
    marks = {line.removesuffix(b"--") for line in octets.split(b"\r\n") if line.startswith(b"--")}
    assert marks == {f"--{BOUNDARY}_{place}".encode() for place in (1, 2, 3)}
    assert not any(one != other and other.startswith(one) for one in marks for other in marks)


# ---------------------------------------------------------------- texts


def test_every_line_break_becomes_crlf() -> None:
    (part,) = read(written(draft(text="a\nb\rc\r\nd\n\r\n"))).parts
    assert part.octets == b"a\r\nb\r\nc\r\nd\r\n\r\n"


def test_html_alone_brings_a_text_along() -> None:
    text, html = read(written(draft(html='<p>See <a href="https://x.example/1">this</a></p>'))).parts
    assert text.octets == b"See this (https://x.example/1)"
    assert html.octets == b'<p>See <a href="https://x.example/1">this</a></p>'


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"text": "a\x00"}, "control_character", "/text"),
        ({"html": "a\x1b[1m"}, "control_character", "/html"),
        ({"text": "a\ud800"}, "lone_surrogate", "/text"),
        ({"html": "\udfff"}, "lone_surrogate", "/html"),
        ({"subject": "a\r\nBcc: x@example.net"}, "control_character", "/subject"),
        ({"subject": "a\u0085b"}, "control_character", "/subject"),
        ({"subject": "a\ud800"}, "lone_surrogate", "/subject"),
        ({"sender": named("a\x1b")}, "control_character", "/from"),
        ({"to": (named("a"), named("b\u2028"))}, "control_character", "/to/1"),
        ({"cc": (named("\ud83d"),)}, "lone_surrogate", "/cc/0"),
        ({"reply_to": (named("b\n"),)}, "control_character", "/reply_to/0"),
        ({"headers": (("X-A", "a\nb"),)}, "header", "/headers/X-A"),
        ({"headers": (("X/~", "a"),)}, "header", "/headers/X~1~0"),
        ({"headers": (("X-A", "a"), ("x-a", "b"))}, "header", "/headers/x-a"),
        ({"headers": (("Bcc", "x@example.net"),)}, "header", "/headers/Bcc"),
        ({"to": tuple(named("n" * 900) for _ in range(300))}, "header_too_large", ""),
        ({"attachments": (file(kind="multipart/mixed"),)}, "media_type", "/attachments/0/content_type"),
        ({"attachments": (PDF, file(kind="a/b\r\nX: y"))}, "media_type", "/attachments/1/content_type"),
        ({"attachments": (file(kind="pdf"),)}, "media_type", "/attachments/0/content_type"),
        ({"attachments": (file(kind="a/b; c=ä"),)}, "media_type", "/attachments/0/content_type"),
        ({"attachments": (file(kind="a/b; c=d; C=e"),)}, "media_type", "/attachments/0/content_type"),
        ({"attachments": (file(name="a\r\nb"),)}, "filename", "/attachments/0/filename"),
        ({"attachments": (file(name="../a"),)}, "filename", "/attachments/0/filename"),
        ({"attachments": (file(name="a\ud800"),)}, "filename", "/attachments/0/filename"),
        ({"attachments": (file(name="a" * 256),)}, "filename", "/attachments/0/filename"),
        ({"attachments": (file(content_id="a>\r\nX: y"),)}, "content_id", "/attachments/0/content_id"),
        ({"attachments": (file(content_id=""),)}, "content_id", "/attachments/0/content_id"),
        ({"attachments": (INVITE, INVITE)}, "invitation_twice", "/attachments/1/content_type"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_place(changes: dict[str, Any], code: str, pointer: str) -> None:
    with pytest.raises(ContentError) as caught:
        plan_of(draft(**changes))
    assert (caught.value.code, caught.value.pointer) == (code, pointer)
    assert str(caught.value).isascii()


# ---------------------------------------------------------------- files


def test_an_invitation_stands_beside_the_text_and_is_no_file() -> None:
    invitation = read(written(draft(text="t", attachments=(INVITE,)))).parts[1]
    assert (invitation.kind, invitation.disposition) == ("text/calendar", None)
    (_, part) = parsed(written(draft(text="t", attachments=(INVITE,)))).iter_parts()
    assert dict(part["Content-Type"].params) == {"method": "REQUEST", "charset": "utf-8", "name": "invite.ics"}


def test_an_invitation_without_charset_gets_its_default() -> None:
    (_, part) = parsed(written(draft(attachments=(file(kind="text/calendar; method=CANCEL"),)))).iter_parts()
    assert part.get_param("charset") == "utf-8"


@pytest.mark.parametrize(
    ("attachment", "zone"),
    [
        (INVITE, Zone.INVITATION),
        (file(kind="text/calendar; method=REQUEST", is_inline=True), Zone.INVITATION),
        (file(kind="text/calendar; method=REQUEST", is_file=True), Zone.FILE),
        (file(kind="text/calendar"), Zone.FILE),
        (file(kind="application/ics"), Zone.FILE),
        (LOGO, Zone.INLINE),
        (PDF, Zone.FILE),
    ],
)
def test_the_place_of_a_file_follows_from_its_type_and_disposition(attachment: Attachment, zone: Zone) -> None:
    assert zone_of(draft(text="t", html="h"), attachment) is zone


def test_an_inline_file_without_html_is_shown_where_it_stands() -> None:
    part = read(written(draft(attachments=(LOGO,)))).parts[1]
    assert (part.disposition, part.content_id) == ("inline", "<logo>")


def test_an_attached_message_arrives_as_octets_with_its_name() -> None:
    part = read(written(draft(attachments=(EML,)))).parts[1]
    assert (part.kind, part.filename, part.octets) == ("application/octet-stream", "mail.eml", b"From: x\r\n\r\nx")


def test_a_name_beside_the_content_type_gives_way_to_the_files_own() -> None:
    (_, part) = parsed(written(draft(attachments=(file(kind='application/pdf; name="other.pdf"'),)))).iter_parts()
    assert part.get_filename() == "a.pdf"
    assert part.get_param("name") is None


@pytest.mark.parametrize(
    ("name", "fallback"),
    [
        ("Übersicht für März.pdf", b'name="Ubersicht fur Marz.pdf"'),
        ("漢字.pdf", b'name="__.pdf"'),
        ('a"b.pdf', b'name="a_b.pdf"'),
        ("ä" * 200 + ".pdf", b'name="' + b"a" * 40 + b'.pdf"'),
    ],
)
def test_a_name_in_other_letters_has_something_like_it_in_ascii(name: str, fallback: bytes) -> None:
    octets = written(draft(attachments=(file(name=name),)))
    assert fallback in octets
    assert b"filename*" in octets
    assert b"filename=" not in octets


def test_a_file_without_a_name_has_none() -> None:
    octets = written(draft(attachments=(file(name=""),)))
    assert b"\r\nContent-Disposition: attachment\r\n" in octets
    assert b"name" not in octets


# ---------------------------------------------------------------- size and memory


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 114, 191_519, 191_520, 191_521, 400_000])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_size_is_known_before_and_a_file_arrives_whole(size: int, wrapped: bool) -> None:
    octets = bytes(range(256)) * (size // 256 + 1)
    text = (encodebytes if wrapped else b64encode)(octets[:size]).decode()
    letter = read(written(draft(attachments=(file(text), file(b"next")))))
    assert [part.octets for part in letter.parts] == [b"Hello", octets[:size], b"next"]


def test_a_large_text_is_cut_into_chunks() -> None:
    text = "line of text\n" * 60_000
    assert read(written(draft(text=text))).parts[0].octets == crlf(text)


def test_a_small_message_is_one_chunk() -> None:
    assert len(list(plan_of(draft(text="t", html="h", attachments=(PDF, LOGO))).chunks())) == 1


def test_a_large_file_is_never_held_twice() -> None:
    message = draft(attachments=(file("QUJD" * (8 * 1024 * 1024 // 4)),))
    tracemalloc.start()
    try:
        plan = plan_of(message)
        octets = sum(len(chunk) for chunk in plan.chunks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plan.size == octets + DATE_OCTETS
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize(
    "text",
    [
        "Q",
        "QQ",
        "QQQ",
        "QQ=",
        "Q===",
        "====",
        "QQ==QQ==",
        "QQ==\nQQ==",
        "QUI=QUJD",
        "QU-_",
        "QU\x0bJD",
        "QUJä",
        "QUJ\ud800",
        "QUJD" * 70_000 + "QQ==" + "QUJD" * 70_000,
        "QUJD" * 70_000 + "Q",
        "QUJD" * (76 * 3360 // 4 - 1) + "QQ==" + "QUJD",  # the padding ends what is checked in one step
    ],
)
def test_malformed_base64_is_refused_with_its_place(text: str) -> None:
    plan = plan_of(draft(attachments=(PDF, file(text))))
    with pytest.raises(ContentError) as caught:
        list(plan.chunks())
    assert (caught.value.code, caught.value.pointer) == ("base64", "/attachments/1/content")


@pytest.mark.parametrize("text", ["QUJD", " QU JD\r\n", "Q\nU\tJ\rD", "QUJD" + "\n" * 300_000])
def test_white_space_in_base64_is_taken(text: str) -> None:
    assert read(written(draft(attachments=(file(text),)))).parts[1].octets == b"ABC"


# ---------------------------------------------------------------- SMTPUTF8


@pytest.mark.parametrize("field", ["sender", "to", "cc", "bcc", "reply_to"])
def test_a_local_part_outside_ascii_needs_smtputf8_wherever_it_stands(field: str) -> None:
    address = named("Jörg", "jörg@bücher.example")
    plan = plan_of(draft(**{field: address if field == "sender" else (address,)}))
    assert plan.needs_smtputf8
    octets = b"".join(plan.chunks())
    check_lines(octets)
    assert ("<jörg@xn--bcher-kva.example>".encode() in octets) is (field != "bcc")


def test_a_domain_in_other_letters_needs_no_smtputf8() -> None:
    message = draft(to=(named("Jörg", "joerg@bücher.example"),))
    assert not plan_of(message).needs_smtputf8
    assert read(written(message)).addresses["To"] == [("Jörg", "joerg@xn--bcher-kva.example")]


def test_the_message_id_is_the_callers_to_the_letter() -> None:
    message_id = f"<msg_06f3@{parse_address('a@bücher.example').domain}>"
    octets = b"".join(compose(draft(), message_id=message_id, boundary=BOUNDARY).chunks())
    assert unfolded(parsed(octets), "Message-ID") == message_id
