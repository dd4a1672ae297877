"""From JSON to a draft: what is taken, what is refused, and where the fault is said to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.api.drafting import read_model, to_draft
from app.api.schemas import MessageIn
from app.mail.draft import Attachment, Draft
from app.mail.message import Priority
from app.web.problems import Problem

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
BASE: dict[str, Any] = {"from": "billing@contoso.com", "to": "ada@customer.example", "subject": "s", "text": "t"}


def draft(multipart: bool = False, **changes: Any) -> Draft:
    document = {name: value for name, value in {**BASE, **changes}.items() if value is not ...}
    if "sender" in document:
        document["from"] = document.pop("sender")
    return to_draft(read_model(MessageIn, document), NOW, multipart=multipart)


def faults(multipart: bool = False, **changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(Problem) as caught:
        draft(multipart, **changes)
    assert caught.value.kind.code == "validation-error"
    return [(fault.at, fault.code) for fault in caught.value.errors]


def shown(found: tuple[Any, ...]) -> list[tuple[str, str | None]]:
    return [(named.address.given, named.name) for named in found]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a@b.example", [("a@b.example", None)]),
        ("Ada Byron <a@b.example>", [("a@b.example", "Ada Byron")]),
        ('"B, Jr." <a@b.example>', [("a@b.example", "B, Jr.")]),
        ({"email": "a@b.example"}, [("a@b.example", None)]),
        ({"email": "a@b.example", "name": None}, [("a@b.example", None)]),
        ({"email": "a@b.example", "name": "B, Jr."}, [("a@b.example", "B, Jr.")]),
        (["a@b.example", {"email": "c@b.example", "name": "C"}], [("a@b.example", None), ("c@b.example", "C")]),
        ([], []),
        (None, []),
    ],
)
def test_addresses_come_as_strings_and_objects_one_or_many(given: Any, expected: list[tuple[str, str | None]]) -> None:
    """In each of the four fields alike."""
    for field in ("cc", "bcc", "reply_to"):
        assert shown(getattr(draft(**{field: given}), field)) == expected
    if expected:
        assert shown(draft(to=given).to) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sender": ...}, [("#/from", "missing")]),
        ({"from": ...}, [("#/from", "missing")]),
        ({"from": None}, [("#/from", "address_type")]),
        ({"from": ["a@b.example"]}, [("#/from", "address_type")]),
        ({"from": 5}, [("#/from", "address_type")]),
        ({"from": "nobody"}, [("#/from", "invalid_email")]),
        ({"from": {"email": "nobody"}}, [("#/from/email", "invalid_email")]),
        ({"from": {"name": "N"}}, [("#/from/email", "missing")]),
        ({"to": "a@b.example, c@d.example"}, [("#/to", "one_address_each")]),
        ({"to": ["x@b.example", "A <a@b.example>, C <c@d.example>"]}, [("#/to/1", "one_address_each")]),
        ({"to": ["x@b.example", {"email": "nobody"}]}, [("#/to/1/email", "invalid_email")]),
        ({"to": [{"email": "a@b.example", "Name": "x"}]}, [("#/to/0/Name", "extra_forbidden")]),
        ({"to": [{"email": 1, "name": 2}]}, [("#/to/0/name", "string_type"), ("#/to/0/email", "string_type")]),
        ({"to": [{"email": "a@b.example", "name": "A\r\nBcc: x"}]}, [("#/to/0/name", "control_character")]),
        ({"to": ["a@b.example\r\nBcc: x@y.example"]}, [("#/to/0", "control_character")]),
        ({"to": [["a@b.example"]]}, [("#/to/0", "address_type")]),
        ({"to": True}, [("#/to", "address_type")]),
        ({"to": ...}, [("#/to", "missing")]),
        ({"to": []}, [("#/to", "missing")]),
        ({"text": ...}, [("#/text", "missing")]),
        ({"text": 5}, [("#/text", "string_type")]),
        ({"text": "x" * (2 * 1024 * 1024 + 1)}, [("#/text", "length")]),
        ({"html": "ä" * (1024 * 1024 + 1)}, [("#/html", "length")]),
        ({"subject": "x" * 999}, [("#/subject", "length")]),
        ({"subject": "a\nb"}, [("#/subject", "control_character")]),
        ({"subject": "a\u2028b"}, [("#/subject", "control_character")]),
        ({"subject": ["a"]}, [("#/subject", "string_type")]),
        ({"bccc": "a@b.example"}, [("#/bccc", "extra_forbidden")]),
        ({"template": {}}, [("#/template", "extra_forbidden")]),
        ({"priority": "5"}, [("#/priority", "literal_error")]),
        ({"priority": 1}, [("#/priority", "literal_error")]),
        ({"priority": True}, [("#/priority", "literal_error")]),
        ({"headers": []}, [("#/headers", "object_type")]),
        ({"headers": {"X-A": 1}}, [("#/headers/X-A", "header")]),
        ({"headers": {"Bcc": "a@b.example"}}, [("#/headers/Bcc", "header")]),
        ({"headers": {"X-A": "a\r\nBcc: b"}}, [("#/headers/X-A", "header")]),
        ({"headers": {"X A": "a", "": "b"}}, [("#/headers/X%20A", "header"), ("#/headers/", "header")]),
        ({"headers": {"X-A": "1", "x-a": "2"}}, [("#/headers/x-a", "header")]),
        ({"headers": {f"X-{n}": "v" for n in range(51)}}, [("#/headers", "too_many")]),
        ({"tags": {"a": "b"}}, [("#/tags", "list_type")]),
        ({"tags": [{"name": "a"}]}, [("#/tags/0/value", "missing")]),
        ({"tags": [{"name": "a b", "value": "ä"}]}, [("#/tags/0/name", "tag"), ("#/tags/0/value", "tag")]),
        ({"tags": [{"name": "a", "value": "b"}] * 2}, [("#/tags", "duplicate")]),
        ({"tags": [{"name": f"a{n}", "value": "b"} for n in range(11)]}, [("#/tags", "too_long")]),
        ({"metadata": {"a": 1}}, [("#/metadata/a", "string_type")]),
        ({"metadata": {"a": "x" * 501}}, [("#/metadata/a", "length")]),
        ({"metadata": {"a": "\x00"}}, [("#/metadata/a", "control_character")]),
        ({"metadata": {str(n): "v" for n in range(21)}}, [("#/metadata", "too_many")]),
        ({"attachments": {}}, [("#/attachments", "list_type")]),
        ({"attachments": ["a"]}, [("#/attachments/0", "model_type")]),
        ({"attachments": [{"filename": "a"}]}, [("#/attachments/0/content", "missing")]),
        ({"attachments": [{"filename": "../a", "content": ""}]}, [("#/attachments/0/filename", "filename")]),
        ({"attachments": [{"filename": "a\r\nX: b", "content": ""}]}, [("#/attachments/0/filename", "filename")]),
        ({"attachments": [{"content": "", "content_type": "pdf"}]}, [("#/attachments/0/content_type", "media_type")]),
        (
            {"attachments": [{"content": "", "content_type": "multipart/mixed"}]},
            [("#/attachments/0/content_type", "media_type")],
        ),
        (
            {"attachments": [{"content": "", "content_type": "a/b\r\nX: c"}]},
            [("#/attachments/0/content_type", "media_type")],
        ),
        ({"attachments": [{"content": "", "content_id": "<a b>"}]}, [("#/attachments/0/content_id", "content_id")]),
        ({"attachments": [{"content": "", "content_id": "a"}] * 2}, [("#/attachments/1/content_id", "duplicate")]),
        ({"attachments": [{"content": [1, 2]}]}, [("#/attachments/0/content", "string_type")]),
        ({"attachments": [{"content": "", "path": "http://x"}]}, [("#/attachments/0/path", "extra_forbidden")]),
        ({"attachments": [{"part": "a"}]}, [("#/attachments/0/part", "part")]),
        ({"attachments": [{"content": ""}] * 51}, [("#/attachments", "too_long")]),
        (
            {"attachments": [{"content": "", "disposition": "form-data"}]},
            [("#/attachments/0/disposition", "literal_error")],
        ),
        ({"scheduled_at": "tomorrow"}, [("#/scheduled_at", "instant")]),
        ({"scheduled_at": "2026-11-24T08:00:00"}, [("#/scheduled_at", "instant")]),
        ({"scheduled_at": "2026-11-24"}, [("#/scheduled_at", "instant")]),
        ({"scheduled_at": "2026-02-30T08:00:00Z"}, [("#/scheduled_at", "instant")]),
        ({"scheduled_at": "2026-11-24T08:00:00+01:60"}, [("#/scheduled_at", "instant")]),
        ({"scheduled_at": "0001-01-01T00:00:00+23:59"}, [("#/scheduled_at", "instant")]),
        ({"scheduled_at": 1795600000}, [("#/scheduled_at", "string_type")]),
        ({"scheduled_at": "2026-12-23T10:00:01Z"}, [("#/scheduled_at", "horizon")]),
        ({"expires_at": "2026-11-23T10:00:00Z"}, [("#/expires_at", "past")]),
        ({"expires_at": "2027-01-23T10:00:00Z"}, [("#/expires_at", "horizon")]),
        (
            {"scheduled_at": "2026-11-25T10:00:00Z", "expires_at": "2026-11-24T10:00:00Z"},
            [("#/expires_at", "order")],
        ),
    ],
)
def test_each_fault_is_found_at_its_place(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Within the caller's own document."""
    changes = {**changes}
    document = {**BASE, **changes}
    document = {name: value for name, value in document.items() if value is not ... and name != "sender"}
    if changes.get("sender") is ...:
        del document["from"]
    with pytest.raises(Problem) as caught:
        to_draft(read_model(MessageIn, document), NOW)
    assert caught.value.kind.code == "validation-error"
    assert [(fault.at, fault.code) for fault in caught.value.errors] == expected


def test_no_fault_repeats_what_was_given() -> None:
    """Names of fields apart."""
    secret = "s3cret-value"
    document = {
        "from": secret,
        "to": [secret, {"email": secret, "name": f"{secret}\n"}, f"{secret}, {secret}"],
        "subject": f"{secret}\n",
        "headers": {"X-A": f"{secret}\r\n", "Bcc": secret},
        "tags": [{"name": f"{secret}!", "value": f"{secret}!"}, secret],
        "metadata": {"a": f"{secret}\n"},
        "priority": secret,
        "scheduled_at": secret,
        "attachments": [{"filename": f"{secret}/x", "content_type": secret, "content_id": f"<{secret}>"}],
    }
    with pytest.raises(Problem) as caught:
        read_model(MessageIn, document)
    told = repr([fault.as_member() for fault in caught.value.errors])
    assert len(caught.value.errors) >= 12
    assert secret not in told


def test_many_faults_are_told_in_part() -> None:
    """An answer is no mirror of a large request."""
    assert len(faults(to=["x"] * 10_000)) == 50


def test_what_is_null_is_absent() -> None:
    """Typed clients write null for what they do not set."""
    names = ("cc", "bcc", "reply_to", "html", "attachments", "headers", "tags", "metadata", "priority")
    plain = draft()
    assert draft(**dict.fromkeys((*names, "scheduled_at", "expires_at"))) == plain
    assert draft(subject=None).subject == ""


def test_the_rest_of_a_message_arrives_as_given() -> None:
    """Attachments with what their names and ids suggest, tags and headers in order, instants in UTC."""
    found = draft(
        html="<p>t</p>",
        attachments=[
            {"filename": "a.pdf", "content": "QQ=="},
            {"filename": "logo.png", "content": "QQ==", "content_id": "logo"},
            {"filename": "b", "content": "QQ==", "content_id": "b", "disposition": "attachment"},
            {
                "filename": "invite.ics",
                "content": "QQ==",
                "content_type": "text/calendar; method=REQUEST; charset=utf-8",
            },
            {"content": "QQ==", "disposition": "inline"},
        ],
        headers={"X-B": "1", "X-A": "2"},
        tags=[{"name": "kind", "value": "invoice"}],
        metadata={"invoice_id": "8812"},
        priority="bulk",
        scheduled_at="2026-11-24T08:00:00.250+01:00",
        expires_at="2026-11-25t08:00:00z",
    )
    assert found.attachments == (
        Attachment("a.pdf", "application/pdf", "QQ=="),
        Attachment("logo.png", "image/png", "QQ==", None, "logo", is_inline=True),
        Attachment("b", "application/octet-stream", "QQ==", None, "b", is_file=True),
        Attachment("invite.ics", "text/calendar; method=REQUEST; charset=utf-8", "QQ=="),
        Attachment("", "application/octet-stream", "QQ==", is_inline=True),
    )
    assert found.headers == (("X-B", "1"), ("X-A", "2"))
    assert found.tags == (("kind", "invoice"),)
    assert found.metadata == {"invoice_id": "8812"}
    assert found.priority is Priority.BULK
    assert found.scheduled_at == datetime(2026, 11, 24, 8, 0, 0, 250_000, timezone(timedelta(hours=1)))
    assert found.expires_at == datetime(2026, 11, 25, 8, tzinfo=UTC)


def test_a_time_that_has_passed_means_now() -> None:
    """A retry that comes late must not lose its message."""
    assert draft(scheduled_at="2026-11-23T09:00:00Z").scheduled_at == NOW - timedelta(hours=1)


def test_in_a_multipart_request_an_attachment_names_its_part() -> None:
    """Either that or content."""
    assert draft(True, attachments=[{"part": "a"}]).attachments == (Attachment("", "", None, part="a"),)
    assert faults(True, attachments=[{"part": "a", "content": ""}]) == [("#/attachments/0/content", "missing")]
    assert faults(True, attachments=[{"filename": "x"}]) == [("#/attachments/0/content", "missing")]


def test_a_large_attachment_is_not_copied_on_its_way() -> None:
    """The draft holds the very string that was read."""
    content = "QUJD" * 100_000
    assert draft(attachments=[{"content": content}]).attachments[0].content is content


@pytest.mark.parametrize(
    "character", ["\0", "\t", "\r", "\n", "\x1b", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029"]
)
def test_whatever_a_reader_may_take_for_the_end_of_a_line_is_refused_at_its_place(character: str) -> None:
    """C0, DEL, C1 with NEL, LS and PS, in everything that becomes part of a line."""
    text = f"a{character}b"
    document = {
        **BASE,
        "from": f"{text} <billing@contoso.com>",
        "to": [f'"{text}" <a@b.example>', {"email": "a@b.example", "name": text}, f"a{character}@b.example"],
        "subject": text,
        "headers": {"X-A": text},
        "metadata": {"a": text, "b": "fine"},
        "attachments": [{"filename": text, "content": ""}],
    }
    with pytest.raises(Problem) as caught:
        read_model(MessageIn, document)
    places = {fault.at for fault in caught.value.errors}
    lines = {"#/from", "#/to/0", "#/to/1/name", "#/to/2", "#/subject", "#/headers/X-A", "#/metadata/a"}
    assert places == {*lines, "#/attachments/0/filename"}
