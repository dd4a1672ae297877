"""Whatever a caller writes, another reader finds exactly that in the message: no more, no less, no other recipient."""

from __future__ import annotations

from base64 import b64encode, encodebytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mail.address import NamedAddress, parse_address
from app.mail.draft import Attachment, Draft
from app.mail.plan import ContentError
from tests.mail.letters import (
    crlf,
    decoded,
    draft,
    expected_parts,
    file,
    named,
    pairs,
    parsed,
    plan_of,
    read,
    unfolded,
    written,
)

# What breaks writers: specials of addresses and parameters, what looks like encoded words, other scripts.
HOSTILE = st.sampled_from(
    [
        *"\"\\<>@,;:()[]=?_.*%'! ",
        "=?utf-8?B?w6Q=?=",
        "=?",
        "?=",
        "a",
        "B",
        "7",
        "ä",
        "ß",
        "é",
        "漢",
        "字",
        "🚀",
        "\u202e",
        "\u00a0",
    ]
)
CHARACTER = HOSTILE | st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
SHORT_LINE = st.lists(CHARACTER, max_size=12).map("".join)
LINE = st.lists(CHARACTER, max_size=60).map("".join)
LONG_LINE = st.builds(lambda text, times: (text * times)[:900], LINE, st.integers(1, 40))
TEXT = st.lists(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from(["\n", "\r\n", "\r", "\t", ".\n", "\n.", " "]),
    max_size=200,
).map("".join)
LOCAL = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,10})?", fullmatch=True)
DOMAIN = st.sampled_from(["example.com", "a.b.example", "bücher.example", "例え.テスト", "host.internal", "x.test"])
ADDRESS = st.builds(lambda local, domain: parse_address(f"{local}@{domain}"), LOCAL | st.just("jörg"), DOMAIN)
NAMED = st.builds(NamedAddress, ADDRESS, st.none() | SHORT_LINE)
SOME = st.lists(NAMED, max_size=3).map(tuple)
KINDS = ["application/pdf", "image/png", "text/csv; charset=utf-8", "message/rfc822", "Application/X-Y"]
FILENAME = LINE.map(lambda name: name.replace("/", "_").replace("\\", "_")[:255])
FILE = st.builds(
    lambda octets, name, kind, cid, inline, wrapped: Attachment(
        name,
        kind,
        (encodebytes(octets) if wrapped else b64encode(octets)).decode(),
        content_id=cid,
        is_inline=inline,
    ),
    st.binary(max_size=300),
    FILENAME,
    st.sampled_from(KINDS),
    st.none() | st.from_regex(r"[a-z0-9.@_-]{1,30}", fullmatch=True),
    st.booleans(),
    st.booleans(),
)
DRAFT = st.builds(
    Draft,
    sender=NAMED,
    to=st.lists(NAMED, min_size=1, max_size=3).map(tuple),
    cc=SOME,
    bcc=SOME,
    reply_to=SOME,
    subject=LINE,
    text=TEXT,
    html=st.none() | TEXT,
    attachments=st.lists(FILE, max_size=3).map(tuple),
)
FEW = settings(max_examples=120, deadline=None, derandomize=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(DRAFT)
def test_a_reader_finds_what_was_written(message: Draft) -> None:
    letter = read(written(message))
    assert letter.addresses["From"] == pairs((message.sender,))
    assert letter.addresses["To"] == pairs(message.to)
    assert letter.addresses.get("Cc", []) == pairs(message.cc)
    assert letter.addresses.get("Reply-To", []) == pairs(message.reply_to)
    assert letter.subject == message.subject
    assert letter.parts == expected_parts(message)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(LINE | LONG_LINE, LINE)
def test_a_name_or_a_subject_is_read_as_it_was_meant(name: str, subject: str) -> None:
    letter = read(written(draft(to=(named(name), named(None, "b@customer.example")), subject=subject)))
    assert letter.addresses["To"] == [(name, "ada@customer.example"), ("", "b@customer.example")]
    assert letter.subject == subject


@settings(max_examples=300, deadline=None, derandomize=True)
@given(FILENAME)
def test_a_file_keeps_its_name(name: str) -> None:
    (part,) = read(written(draft(attachments=(file(name=name),)))).parts[1:]
    assert (part.filename or "") == name


@FEW
@given(st.from_regex(r"X-[A-Za-z0-9-]{1,74}", fullmatch=True), LINE | LONG_LINE)
def test_a_header_is_read_as_it_was_given(name: str, value: str) -> None:
    value = value[:240]
    message = parsed(written(draft(headers=((name, value),))))
    assert decoded(unfolded(message, name) or "") == value


@FEW
@given(TEXT, TEXT)
def test_texts_arrive_to_the_letter(text: str, html: str) -> None:
    parts = read(written(draft(text=text, html=html))).parts
    assert [part.octets for part in parts] == [crlf(each) for each in (text, html)][not text :]


@FEW
@given(st.text(st.characters(), min_size=1, max_size=20))
def test_any_string_is_written_or_refused_at_once(text: str) -> None:
    for changes in ({"subject": text}, {"to": (named(text),)}, {"text": text}, {"headers": (("X-A", text),)}):
        try:
            plan = plan_of(draft(**changes))
        except ContentError:
            continue
        read(b"".join(plan.chunks()))


@FEW
@given(st.binary(max_size=200), st.sampled_from("-_.:%\x00\x0bäé="), st.integers(0, 300))
def test_base64_with_a_foreign_letter_is_refused(octets: bytes, letter: str, at: int) -> None:
    text = b64encode(octets).decode()
    text = text[:at] + letter + text[at:]
    plan = plan_of(draft(attachments=(file(text),)))
    with pytest.raises(ContentError) as caught:
        list(plan.chunks())
    assert caught.value.pointer == "/attachments/0/content"
