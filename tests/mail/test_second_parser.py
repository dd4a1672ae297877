"""A reader that is not Python's finds the same in our messages: addresses, subject, bodies, files, and nothing else.

Needs perl with MIME::Parser (Debian: libmime-tools-perl). Fails where that is missing: a judge that is not there has
not agreed.
"""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from app.mail.draft import Draft
from tests.mail.letters import Part, draft, expected_parts, file, named, pairs, written

READER = Path(__file__).with_name("second_parser.pl")

NAMES = [
    "Billing",
    "Byron, Ada",
    'Ada "The Countess" Byron',
    "A very long display name for a department of the public administration, with a comma inside it",
    "evil@example.net",
    "evil@example.net, other",
    "Ada <evil@example.net>",
    "<evil@example.net>",
    "back\\slash",
    'ends with \\"',
    '"',
    "\\",
    ",",
    ";",
    "(comment)",
    "unclosed (",
    "group: a@b.example;",
    "Dr. O'Neil",
    "[Ticket #7]",
    "=?utf-8?B?w6Q=?=",
    "=?utf-8?Q?a?= <evil@example.net>",
    "?= =?",
    "Jörg Müller",
    "Müller, Jörg <evil@example.net>",
    "漢字" * 40,
    "🚀" * 25,
    "e\u0301" * 30,
    "\u202eevil",
    "a" * 300,
    "word " * 60 + "end",
    "two  spaces",
    "a\u00a0b",
    "%s%n%00",
    "ä, ö; ü <x@y.example>",
]
SUBJECTS = [
    "",
    "Invoice 8812",
    "Grüße aus Köln",
    "漢字" * 60,
    "long words " * 60 + "end",
    "x" * 900,
    "=?utf-8?B?w6Q=?=",
    "half =?utf-8?B? of a word",
    "🚀" * 40,
    "a: b; c, <d@e.example>",
]
FILENAMES = [
    "plain.pdf",
    "with space.pdf",
    "Übersicht für März.pdf",
    'quo"te.pdf',
    "semi;colon=.pdf",
    "it's 50% done.pdf",
    "=?utf-8?B?w6Q=?=.pdf",
    "漢字" * 60 + ".pdf",
    "a" * 200 + ".pdf",
    "🚀.pdf",
    "(a).pdf",
    "utf-8''x.pdf",
]


def corpus() -> list[Draft]:
    """Return the messages to be judged."""
    found = [draft(to=(named(name), named(None, "b@customer.example")), sender=named(name)) for name in NAMES]
    found += [draft(subject=subject) for subject in SUBJECTS]
    found += [draft(attachments=(file(name=name),)) for name in FILENAMES]
    picture = file(b"\x89PNG\r\n\x1a\n\x00", "logo.png", "image/png", content_id="logo", is_inline=True)
    body = ".\r\n..\r\n.dot\nlone\rreturn\n-- \nFrom me\n--msg_01_1--\n" + "x" * 5000
    found += [
        draft(text=body, html=f"<p>{body}</p>"),
        draft(text="", html="<p>only html</p>"),
        draft(text=""),
        draft(
            html="<img src=cid:logo>", text="t", attachments=(picture, file(bytes(range(256)) * 40), file(b"", "e.txt"))
        ),
        draft(html="<img src=cid:logo>", text="", attachments=(picture,)),
        draft(attachments=(picture, file(b"From: x\r\n\r\n", "mail.eml", "message/rfc822"))),
        draft(
            sender=named("Jörg", "jörg@bücher.example"),
            to=tuple(named(f"Name, {place}", f"r{place}@customer.example") for place in range(120)),
            cc=(named("ä" * 100, "c@例え.テスト"),),
            bcc=(named(None, "secret@customer.example"),),
            reply_to=(named("Büro, (Support)", "support@example.com"), named(None, "x@example.com")),
        ),
        draft(
            headers=(
                ("References", " ".join(f"<{place}.{'x' * 60}@example.com>" for place in range(9))),
                ("List-Unsubscribe", f"<https://example.com/{'u' * 400}>, <mailto:off@example.com?subject=off>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
                ("X-Note", "Ünïcode, long: " + "wörter " * 60),
            )
        ),
    ]
    return found


@pytest.fixture(scope="module")
def opinions() -> list[tuple[Draft, dict[str, Any]]]:
    drafts = corpus()
    messages = json.dumps([b64encode(written(each)).decode() for each in drafts])
    done = subprocess.run(["perl", READER], input=messages.encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"perl and libmime-tools-perl are needed: {done.stderr.decode(errors='replace')}"
    return list(zip(drafts, json.loads(done.stdout), strict=True))


def test_the_corpus_is_large(opinions: list[tuple[Draft, dict[str, Any]]]) -> None:
    assert len(opinions) >= 60


def test_it_finds_no_fault(opinions: list[tuple[Draft, dict[str, Any]]]) -> None:
    assert [found["faults"] for _, found in opinions if found["faults"]] == []


def test_it_finds_the_same_addresses(opinions: list[tuple[Draft, dict[str, Any]]]) -> None:
    for message, found in opinions:
        fields = {"From": (message.sender,), "To": message.to, "Cc": message.cc, "Reply-To": message.reply_to}
        expected = {field: pairs(addresses) for field, addresses in fields.items() if addresses}
        assert {field: [tuple(pair) for pair in each] for field, each in found["addresses"].items()} == expected


def test_it_finds_the_same_subjects(opinions: list[tuple[Draft, dict[str, Any]]]) -> None:
    assert [found["subject"] for _, found in opinions] == [message.subject for message, _ in opinions]


def test_it_finds_the_same_parts(opinions: list[tuple[Draft, dict[str, Any]]]) -> None:
    for message, found in opinions:
        parts = [
            Part(
                each["type"],
                each["filename"],
                each["disposition"] or None,
                each["content_id"],
                b64decode(each["octets"]),
            )
            for each in found["parts"]
        ]
        assert parts == expected_parts(message)


def test_it_finds_no_field_that_was_not_meant(opinions: list[tuple[Draft, dict[str, Any]]]) -> None:
    ours = {"from", "to", "subject", "message-id", "mime-version", "content-type", "content-transfer-encoding"}
    for message, found in opinions:
        meant = ours | {name.lower() for name, _ in message.headers}
        assert set(found["fields"]) - {"cc", "reply-to"} <= meant
        assert "bcc" not in found["fields"]
