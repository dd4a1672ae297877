"""Every kind of content that a caller may post, as JSON, with what a reader must find in it.

A letter names its recipients itself; ``X-Corpus`` carries its name through every server. What is expected is worked out
from what was posted, not from what the service wrote.
"""

from __future__ import annotations

import random
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.interop.daemon import SENDER
from tests.mail.letters import Part

_MB = 1024 * 1024
_EVERY_OCTET = bytes(range(256)) * 40
_SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>Größe</text></svg>'.encode()
_EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Postroom//Test//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
    "UID:8812@contoso.test\r\nDTSTAMP:20261125T100000Z\r\nDTSTART:20261201T090000Z\r\nDTEND:20261201T100000Z\r\n"
    "SUMMARY:Besprechung über Größe\r\nORGANIZER:mailto:noreply@contoso.test\r\nATTENDEE:mailto:ada@one.example\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
).encode()
_DOTS = "A line.\n.\n..\n...\n.hidden\n. a dot and a space\n\n.\n\nThe end.\n."
_LONG_WORD = "x" * 5000
_LONG_TEXT = f"{'word ' * 1000}\n{_LONG_WORD}\n{'größer ' * 700}\n"
_SPACES = (
    "trailing space \ntrailing tab\t\n \n\t\n  indented\nFrom the start of a line\n>From quoted\n-- \nsignature\n\n\n"
)
_BREAKS = "unix\nold mac\rwindows\r\nend"
_SCRIPTS = "Größe, æøå, Ελληνικά, кириллица, עברית, العربية, हिन्दी, 日本語, 한국어, emoji 👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿\n" * 20


@dataclass(frozen=True)
class Letter:
    """A posted body, and what must come of it; ``addresses`` are pairs of name and addr-spec by field."""

    name: str
    body: dict[str, Any]
    addresses: dict[str, list[tuple[str, str]]]
    recipients: list[str]
    parts: list[Part]
    needs_smtputf8: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.body["headers"])


def _file(content: bytes, name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"filename": name, "content_type": kind, "content": b64encode(content).decode(), **more}


def _crlf(text: str) -> bytes:
    return re.sub("\r\n|\r|\n", "\r\n", text).encode()


def _wire(address: str) -> str:
    """Return an address as it stands on the wire: a domain of many scripts in its ASCII form (RFC 5891)."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"


def _expected_parts(body: dict[str, Any], made_text: bytes | None) -> list[Part]:
    text, html = body.get("text"), body.get("html")
    parts = []
    if text or html is None:
        parts.append(Part("text/plain", None, None, None, _crlf(text or "")))
    elif made_text is not None:
        parts.append(Part("text/plain", None, None, None, made_text))
    if html is not None:
        parts.append(Part("text/html", None, None, None, _crlf(html)))
    files = body.get("attachments", [])
    asked = [each for each in files if "method=" in each["content_type"] and "disposition" not in each]
    inline = [each for each in files if each.get("disposition") == "inline"]
    others = [each for each in files if each not in asked and each not in inline]
    parts += [Part("text/calendar", None, None, None, b64decode(each["content"])) for each in asked]
    for each in (*inline, *others):
        kind = each["content_type"].partition(";")[0]
        kind = "application/octet-stream" if kind == "message/rfc822" else kind
        cid = each.get("content_id")
        parts.append(
            Part(
                kind,
                each["filename"],
                each.get("disposition", "attachment"),
                f"<{cid}>" if cid else None,
                b64decode(each["content"]),
            )
        )
    return parts


def _letter(name: str, *, made_text: bytes | None = None, needs_smtputf8: bool = False, **body: Any) -> Letter:
    posted: dict[str, Any] = {"from": {"email": SENDER}, "to": [{"email": f"{name}@one.example"}], "subject": name}
    posted |= body
    posted["headers"] = {"X-Corpus": name, **body.get("headers", {})}
    if "html" not in posted:
        posted.setdefault("text", "Hello")
    fields = {
        "From": [posted["from"]],
        "To": posted["to"],
        "Cc": posted.get("cc", []),
        "Reply-To": posted.get("reply_to", []),
    }
    shown = {
        field: [(each.get("name") or "", _wire(each["email"])) for each in people]
        for field, people in fields.items()
        if people
    }
    everyone = [*posted["to"], *posted.get("cc", []), *posted.get("bcc", [])]
    recipients = [_wire(each["email"]) for each in everyone]
    return Letter(name, posted, shown, recipients, _expected_parts(posted, made_text), needs_smtputf8)


def _people(count: int, domain: str) -> list[dict[str, str]]:
    return [{"email": f"reader{number}@{domain}", "name": f"Reader, Number {number}"} for number in range(count)]


def corpus() -> Iterator[Letter]:
    """Yield every letter; the same each time."""
    chance = random.Random(8812)
    yield _letter("plain", text="Hello Ada,\n\nhere is your invoice.\n")
    yield _letter("empty", text="", subject="")
    yield _letter("html", html="<p>Hello <b>Ada</b></p>", made_text=b"Hello Ada")
    yield _letter("html-only", html="<p>Hello</p>", text="")
    yield _letter("both", text="Hello Ada", html="<p>Hello <b>Ada</b></p>")
    yield _letter("dots", text=_DOTS, html=f"<pre>\n{_DOTS}</pre>")
    yield _letter("long-lines", text=_LONG_TEXT, html=f"<p>{_LONG_TEXT}</p>")
    yield _letter("spaces", text=_SPACES)
    yield _letter("breaks", text=_BREAKS, html=_BREAKS)
    yield _letter("scripts", subject="Größe 日本語 👩‍👩‍👧 " * 8, text=_SCRIPTS, html=f"<p>{_SCRIPTS}</p>")
    yield _letter("equals", text="a=b =3D =\n=20 ==\n" * 30 + "é")
    yield _letter(
        "files",
        attachments=[
            _file(b"%PDF-1.4\n" + _EVERY_OCTET, "invoice.pdf", "application/pdf"),
            _file(_EVERY_OCTET, "archive.zip", "application/zip"),
            _file(b"", "empty.txt", "text/plain"),
            _file("Größe;1\r\nlast\n".encode(), "table.csv", "text/csv; charset=utf-8"),
            _file(b".\r\n..\r\nQUIT\r\n", "dots.txt", "text/plain"),
            _file(b"From: x@y.example\r\nSubject: inner\r\n\r\n.\r\n", "mail.eml", "message/rfc822"),
            _file(_SVG, "Größe, Skizze (1).svg", "image/svg+xml"),
            _file(b"x", 'a "quoted" name; x=1.bin', "application/octet-stream"),
            _file(
                b"y",
                "日本語の長い名前" * 9 + ".docx",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
        ],
    )
    yield _letter(
        "inline",
        html='<p><img src="cid:logo@contoso"> and <img src="cid:two"></p>',
        text="See the pictures.",
        attachments=[
            _file(b"\x89PNG" + _EVERY_OCTET, "logo.png", "image/png", content_id="logo@contoso", disposition="inline"),
            _file(_SVG, "two.svg", "image/svg+xml", content_id="two", disposition="inline"),
            _file(b"%PDF", "terms.pdf", "application/pdf"),
        ],
    )
    yield _letter(
        "invitation",
        html="<p>An invitation</p>",
        text="An invitation",
        attachments=[_file(_EVENT, "invite.ics", "text/calendar; method=REQUEST; charset=utf-8")],
    )
    yield _letter(
        "calendar-file",
        attachments=[_file(_EVENT, "event.ics", "text/calendar; method=REQUEST", disposition="attachment")],
    )
    yield _letter("large", attachments=[_file(chance.randbytes(10 * _MB), "large.bin", "application/octet-stream")])
    yield _letter(
        "names",
        **{"from": {"email": SENDER, "name": "Contoso, Größe & Söhne <GmbH>"}},
        to=[
            {"email": "ada@one.example", "name": 'Ada "the first" Byron'},
            {"email": "b@two.example", "name": "Søren, Kierkegaård"},
            {"email": "c@three.example", "name": "日本 太郎 " * 6},
            {"email": "o'brien+tag=1@four.example", "name": "back\\slash (and a comment)"},
        ],
        cc=[{"email": "d@bücher.example", "name": "=?utf-8?q?not_encoded?="}],
        reply_to=[{"email": "support@contoso.test", "name": "Support; Desk: 1"}],
    )
    yield _letter(
        "many", to=_people(150, "many.example"), cc=_people(50, "copy.example"), bcc=_people(50, "hidden.example")
    )
    yield _letter("hidden", bcc=[{"email": "hidden@two.example", "name": "Nobody Sees"}])
    yield _letter("only-hidden", to=[], bcc=[{"email": "alone@two.example"}])
    yield _letter(
        "headers",
        headers={
            "X-Entity-Ref-ID": "8812",
            "In-Reply-To": "<before@contoso.test>",
            "References": " ".join(f"<{number}@contoso.test>" for number in range(40)),
            "List-Unsubscribe": "<https://contoso.test/leave?x=1>, <mailto:leave@contoso.test>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Auto-Submitted": "auto-generated",
            "X-Note": "Größe und Gewicht",
        },
    )
    yield _letter("many-scripts-address", needs_smtputf8=True, to=[{"email": "jörg@bücher.example", "name": "Jörg"}])
