"""Hostile requests, as octets on a socket, each with the answers that are right for it.

An expectation is a problem's code, or ``broken``: HTTP itself is broken, so a plain 4xx or a closed connection will do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.api.test_json_text import MALFORMED
from tests.api.test_uploads import MALFORMED as MALFORMED_FORMS
from tests.support.api_world import HELLO

BROKEN = "broken"
PATH = "/v1/messages"
INVALID = ("validation-error",)


@dataclass(frozen=True)
class Attack:
    """``octets`` hold ``%KEY%`` where the key belongs. ``then``: what the client does behind them."""

    name: str
    octets: bytes
    expected: tuple[str, ...]
    then: str = "read"


def request(
    body: bytes = b"",
    *,
    line: str = f"POST {PATH} HTTP/1.1",
    content_type: str | None = "application/json",
    length: int | None = -1,
    key: bool = True,
    more: bytes = b"",
) -> bytes:
    """Return a request; ``length`` -1: the true one, None: no Content-Length."""
    head = f"{line}\r\nHost: postroom.test\r\n".encode("utf-8", "surrogateescape")
    head += b"Authorization: Bearer %KEY%\r\n" if key else b""
    head += f"Content-Type: {content_type}\r\n".encode() if content_type is not None else b""
    if length is not None:
        head += b"Content-Length: %d\r\n" % (len(body) if length < 0 else length)
    return head + more + b"\r\n" + body


def posted(document: Any) -> bytes:
    return request(json.dumps(document).encode())


def _without(name: str, value: Any) -> dict[str, Any]:
    return {**HELLO, name: value}


def malformed_json() -> Iterator[Attack]:
    for name, body in MALFORMED.items():
        yield Attack(f"JSON: {name}", request(body), ("malformed-json",))


def wrong_types() -> Iterator[Attack]:
    values: dict[str, Any] = {
        "a number": 5,
        "a float": 1.5,
        "true": True,
        "a list of lists": [[1]],
        "a list of numbers": [1, 2],
        "an object": {"x": 1},
        "deep": {"a": {"b": {"c": [{"d": 1}]}}},
        "1e999": 1e308,
    }
    names = ("from", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments", "headers", "tags")
    for name in (*names, "metadata", "priority", "scheduled_at", "expires_at", "unknown_field"):
        for word, value in values.items():
            yield Attack(f"type: {name} is {word}", posted(_without(name, value)), INVALID)
    yield Attack("type: infinity by exponent", request(b'{"from": 1e999, "to": "a@b.example", "text": ""}'), INVALID)
    for name in ("from", "to", "text"):
        body = {key: value for key, value in HELLO.items() if key != name}
        yield Attack(f"missing: {name}", posted(body), INVALID)
    yield Attack("missing: everything", posted({}), INVALID)


def injections() -> Iterator[Attack]:
    """A second header line, in every string that could become part of one."""
    places: dict[str, Any] = {
        "from": lambda x: _without("from", f"a@b.example{x}"),
        "from, name": lambda x: _without("from", f"A{x} <a@b.example>"),
        "from, quoted name": lambda x: _without("from", f'"A{x}" <a@b.example>'),
        "from, object": lambda x: _without("from", {"email": "a@b.example", "name": f"A{x}B"}),
        "to": lambda x: _without("to", [f"a{x}@b.example"]),
        "to, object": lambda x: _without("to", {"email": f"a@b.example{x}"}),
        "to, name": lambda x: _without("to", {"email": "a@b.example", "name": f"{x}B"}),
        "cc": lambda x: _without("cc", f"A <a@b.example{x}>"),
        "bcc": lambda x: _without("bcc", [f"{x}a@b.example"]),
        "reply_to": lambda x: _without("reply_to", {"email": "a@b.example", "name": f"A{x}B"}),
        "subject": lambda x: _without("subject", f"s{x}s"),
        "header name": lambda x: _without("headers", {f"X-A{x}": "v"}),
        "header value": lambda x: _without("headers", {"X-A": f"v{x}w"}),
        "message ids": lambda x: _without("headers", {"References": f"<a@b>{x}"}),
        "tag name": lambda x: _without("tags", [{"name": f"a{x}b", "value": "v"}]),
        "tag value": lambda x: _without("tags", [{"name": "a", "value": f"v{x}w"}]),
        "metadata name": lambda x: _without("metadata", {f"a{x}b": "v"}),
        "metadata value": lambda x: _without("metadata", {"a": f"v{x}w"}),
        "file name": lambda x: _without("attachments", [{"filename": f"a{x}b", "content": ""}]),
        "content type": lambda x: _without("attachments", [{"content": "", "content_type": f"a/b{x}c"}]),
        "content id": lambda x: _without("attachments", [{"content": "", "content_id": f"a{x}b"}]),
        "disposition": lambda x: _without("attachments", [{"content": "", "disposition": f"inline{x}"}]),
        "priority": lambda x: _without("priority", f"normal{x}"),
        "scheduled_at": lambda x: _without("scheduled_at", f"2026-11-24T12:00:00Z{x}"),
    }
    ends = {
        "CRLF": "\r\nBcc: evil@x.example",
        "LF": "\nBcc: e",
        "CR": "\rBcc: e",
        "NUL": "\0x",
        "LS": "\u2028x",
        "NEL": "\x85x",
    }
    for place, make in places.items():
        for end, text in ends.items():
            yield Attack(f"injection: {end} in {place}", posted(make(text)), INVALID)


def contents() -> Iterator[Attack]:
    """What only composing finds."""
    for field in ("text", "html"):
        for name, octet in (("NUL", "\0"), ("ESC", "\x1b"), ("BEL", "\x07"), ("DEL", "\x7f")):
            yield Attack(f"content: {name} in {field}", posted(_without(field, f"a{octet}b")), INVALID)
    for name, base64 in {
        "letters that are none": "QUJ!",
        "no quartets": "QUJ",
        "padding within": "QQ==QQ==",
        "padding only": "====",
        "URL letters": "_-8=",
        "letters outside ASCII": "QUÄD",
        "a data URL": "data:text/plain;base64,QUJD",
        "NUL": "QUJD\0",
    }.items():
        attachments = [{"filename": "a", "content": base64}]
        yield Attack(f"content: base64 with {name}", posted(_without("attachments", attachments)), INVALID)
    forbidden = ("sender-not-allowed",)
    yield Attack("sender: another's", posted(_without("from", "ceo@other.example")), forbidden)
    yield Attack("sender: a look-alike", posted(_without("from", "billing@contoso.com.evil.example")), forbidden)
    yield Attack("sender: in the name", posted(_without("from", '"billing@contoso.com" <x@evil.example>')), forbidden)
    recipients = [f"r{number}@b.example" for number in range(501)]
    yield Attack("recipients: too many", posted(_without("to", recipients)), ("too-many-recipients",))


def structural_headers() -> Iterator[Attack]:
    names = (
        *("From", "to", "CC", "Bcc", "Subject", "Date", "Sender", "Return-Path", "Received", "MIME-Version"),
        *("Content-Type", "content-transfer-encoding", "DKIM-Signature", "ARC-Seal", "Authentication-Results"),
        *("Resent-To", "Message-ID", "", "X A", "X:A", "X" * 77, "Ẍ"),
    )
    for name in names:
        yield Attack(f"header: {name[:30]!r}", posted(_without("headers", {name: "v"})), INVALID)


def paths() -> Iterator[Attack]:
    for path in (
        "/v1/messages/",
        "//v1/messages",
        "/v1//messages",
        "/v1/./messages",
        "/v1/messages/../messages",
        "/v1/messages/%2e%2e/messages",
        "/v1/messages/..%2f..%2fetc%2fpasswd",
        "/v1/messages%00",
        "/v1/messages;x=1",
        "/v1/messages%20",
        "/V1/MESSAGES",
        "/v1/messages/%ff",
        "/v1/messages/%0d%0aX-Evil:%201",
        "/v1/messages/" + "A" * 2000,
        "/v1/messages/msg_" + "0" * 26,
        "/v1/messages/' OR 1=1 --".replace(" ", "%20"),
        "/v1/messages/msg_06F3Q2C9DMXA7Y1B8T4H5K6N2W/../../..",
        "/v1/%6d%65ssages2",
        "/etc/passwd",
        "/?x=http://x",
        "/.git/config",
        "/metrics",
        "/v1/mailboxes",
    ):
        yield Attack(f"path: {path[:40]}", request(line=f"GET {path} HTTP/1.1"), ("not-found",))
    for path in ("/v1/messages\x01", "/v1/mess ages", "http://[::1/v1/messages", "v1/messages", "/v1/messages\udcff"):
        yield Attack(
            f"path: {path!r}", request(line=f"GET {path} HTTP/1.1"), (BROKEN, "not-found", "method-not-allowed")
        )
    for path in (
        "/v1/messages?limit=0",
        "/v1/messages?a=b",
        "/v1/messages?%",
        "/v1/messages?limit=1&limit=2",
        "/v1/messages?status=%00",
    ):
        yield Attack(f"query: {path}", request(line=f"GET {path} HTTP/1.1"), INVALID)


def methods() -> Iterator[Attack]:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        yield Attack(f"method: {method}", request(line=f"{method} {PATH} HTTP/1.1"), ("method-not-allowed",))
    for method in ("BREW", "get", "CONNECT", "", "P\x00ST"):
        yield Attack(f"method: {method!r}", request(line=f"{method} {PATH} HTTP/1.1"), (BROKEN, "method-not-allowed"))


def types() -> Iterator[Attack]:
    body = json.dumps(HELLO).encode()
    for kind in (
        *("text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-16"),
        *("application/json, text/html", "application/problem+json", "multipart/mixed; boundary=b", "*/*", "json", ""),
    ):
        yield Attack(f"content type: {kind}", request(body, content_type=kind), ("unsupported-media-type",))
    for coding in ("gzip", "deflate, br", "x"):
        more = f"Content-Encoding: {coding}\r\n".encode()
        yield Attack(f"content coding: {coding}", request(body, more=more), ("unsupported-media-type",))
    yield Attack("content type: none", request(body, content_type=None), ("unsupported-media-type",))
    for name, (body, kind) in MALFORMED_FORMS.items():
        yield Attack(f"form: {name}", request(body, content_type=kind), ("malformed-multipart",))


def framing() -> Iterator[Attack]:
    """Lengths that disagree, and whatever else lets two servers see two different requests."""
    body = json.dumps(HELLO).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def framed(name: str, more: bytes, octets: bytes = body, *expected: str) -> Attack:
        return Attack(f"framing: {name}", request(octets, length=None, more=more), expected or (BROKEN,))

    length = b"Content-Length: %d\r\n" % len(body)
    yield framed("length and chunked", length + b"Transfer-Encoding: chunked\r\n", chunked)
    yield framed("chunked and length", b"Transfer-Encoding: chunked\r\n" + length, chunked)
    yield framed("two lengths", length + b"Content-Length: 3\r\n")
    yield framed("two equal lengths", length + length)
    yield framed("a list of lengths", b"Content-Length: %d, %d\r\n" % (len(body), len(body)))
    yield framed("negative length", b"Content-Length: -1\r\n")
    yield framed("signed length", b"Content-Length: +%d\r\n" % len(body))
    yield framed("hexadecimal length", b"Content-Length: 0x10\r\n")
    yield framed("endless length", b"Content-Length: 99999999999999999999999\r\n")
    yield framed("empty length", b"Content-Length:\r\n")
    yield framed("spaced length", b"Content-Length: 1 0\r\n")
    yield framed("chunked last but one", b"Transfer-Encoding: chunked, identity\r\n", chunked)
    yield framed("unknown coding", b"Transfer-Encoding: xchunked\r\n", chunked)
    yield framed("chunked twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked)
    yield framed("bad chunk size", b"Transfer-Encoding: chunked\r\n", b"zz\r\n" + body)
    yield framed("endless chunk size", b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n" + body)
    yield framed("negative chunk size", b"Transfer-Encoding: chunked\r\n", b"-1\r\n" + body)
    yield framed("chunk without end", b"Transfer-Encoding: chunked\r\n", b"3\r\n{}xx\r\n0\r\n\r\n")
    yield framed("space before colon", length.replace(b":", b" :"))
    yield framed("folded header", b"X-A: a\r\n b\r\n" + length)
    yield framed("NUL in a header", b"X-A: a\0b\r\n" + length)
    yield framed("no colon", b"X-A\r\n" + length)
    yield framed("empty name", b": a\r\n" + length)
    yield framed("bare CR", b"X-A: a\rb\r\n" + length)
    yield framed("Transfer-Encoding folded", b"Transfer-Encoding:\r\n chunked\r\n", chunked)
    yield framed("space before Transfer-Encoding's colon", b"Transfer-Encoding : chunked\r\n", chunked)
    yield framed("vertical tab in Transfer-Encoding", b"Transfer-Encoding:\x0bchunked\r\n", chunked)
    yield framed("quoted coding", b'Transfer-Encoding: "chunked"\r\n', chunked)
    yield framed("coding with a parameter", b"Transfer-Encoding: chunked;q=1\r\n", chunked)
    yield framed("length and a strange coding", length + b"Transfer-Encoding: cow\r\n")
    yield framed("length and identity", length + b"Transfer-Encoding: identity\r\n")
    yield framed("two lengths in other letters", length + b"content-length: 5\r\n")
    for name, coding in {"gzip before chunked": b"gzip, chunked", "nothing before chunked": b",chunked"}.items():
        yield framed(name, b"Transfer-Encoding: " + coding + b"\r\n", chunked, "malformed-request")
    more = b"Transfer-Encoding: chunked\r\n"
    old = request(chunked, length=None, more=more, line=f"POST {PATH} HTTP/1.0")
    yield Attack("framing: chunked in HTTP/1.0", old, ("malformed-request",))
    yield framed("two hosts", b"Host: other.test\r\n" + length, body, "malformed-request")
    hostless = request(body).replace(b"Host: postroom.test\r\n", b"")
    yield Attack("framing: no host", hostless, ("malformed-request",))
    yield Attack("framing: line feeds only", request(body).replace(b"\r\n", b"\n"), (BROKEN,))
    yield framed("a line feed alone", b"X-A: b\n" + length)
    yield framed("chunks with line feeds only", more, chunked.replace(b"\r\n", b"\n"))
    size = b"%x" % len(body)
    for name, start in {
        "line feed in a chunk extension": size + b";a\nb",
        "0x before a chunk size": b"0x" + size,
        "space before a chunk size": b" " + size,
        "space behind a chunk size": size + b" ",
    }.items():
        yield framed(name, more, start + b"\r\n" + body + b"\r\n0\r\n\r\n")
    yield framed("no line break behind a chunk", more, size + b"\r\n" + body + b"XX0\r\n\r\n")
    trailers = b"Content-Length: 3\r\nAuthorization: Bearer x\r\n\r\n"
    yield framed("a length in the trailer", more, chunked[:-2] + trailers)
    yield framed("CR in a header's name", b"X\rY: a\r\n" + length)
    yield Attack("framing: a space before the line", b" " + request(body), (BROKEN,))
    yield Attack("framing: tabs in the line", request(body, line=f"POST\t{PATH}\tHTTP/1.1"), (BROKEN,))
    yield Attack("framing: HTTP/0.9", b"GET /v1/messages\r\n\r\n", (BROKEN, "malformed-request"))
    yield Attack("framing: HTTP/9.9", request(line=f"GET {PATH} HTTP/9.9"), (BROKEN,))
    yield Attack("framing: TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (BROKEN,))
    yield Attack("framing: HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (BROKEN,))
    yield Attack("framing: SMTP", b"EHLO x\r\nMAIL FROM:<a@b>\r\n", (BROKEN,))
    yield Attack("framing: noise", bytes(range(256)) * 4, (BROKEN,))
    yield Attack("framing: a long head", request(more=b"X-A: " + b"a" * 400_000 + b"\r\n"), (BROKEN,))
    yield Attack("framing: many headers", request(more=b"X-A: a\r\n" * 60_000), (BROKEN,))


def sizes() -> Iterator[Attack]:
    big = b'{"a": "' + b"x" * 600_000 + b'"}'
    chunk = b"%x\r\n%b\r\n" % (len(big), big)
    yield Attack("size: declared", request(big), ("payload-too-large",))
    yield Attack("size: declared and never sent", request(b"{", length=10**9), ("payload-too-large",))
    more = b"Transfer-Encoding: chunked\r\n"
    yield Attack("size: chunked", request(chunk + b"0\r\n\r\n", length=None, more=more), ("payload-too-large",))
    yield Attack("size: chunked without end", request(chunk, length=None, more=more), ("payload-too-large",))
    yield Attack("size: many recipients", posted(_without("to", ["x"] * 20_000)), INVALID)
    yield Attack("size: many headers", posted(_without("headers", {f"X-{n}": "v" for n in range(5_000)})), INVALID)
    yield Attack("size: a long subject", posted(_without("subject", "s" * 100_000)), INVALID)


def slowness() -> Iterator[Attack]:
    yield Attack("slow: no body", request(length=10), ("request-timeout",))
    yield Attack("slow: half a body", request(b'{"from"', length=100), ("request-timeout",))
    form = request(b"--b\r\n", length=100, content_type="multipart/form-data; boundary=b")
    yield Attack("slow: half a form", form, ("request-timeout",))
    chunked = request(b"5\r\n{", length=None, more=b"Transfer-Encoding: chunked\r\n")
    yield Attack("slow: half a chunk", chunked, ("request-timeout",))
    yield Attack("cut: no body", request(length=10), (BROKEN,), "close")
    yield Attack("cut: half a body", request(b'{"from"', length=100), (BROKEN,), "close")
    yield Attack("cut: a whole head only", request(json.dumps(HELLO).encode())[:-30], (BROKEN,), "close")
    yield Attack("cut: half a head", b"POST /v1/messages HT", (BROKEN,), "close")


def keys() -> Iterator[Attack]:
    body = json.dumps(HELLO).encode()
    denied = ("unauthorized", "too-many-failures")
    for value in (
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer x",
        b"Basic !!!",
        b"Basic OmE=",
        b"Digest a",
        b"Bearer \xff\xfe",
        b"Bearer %KEY%x",
        b"%KEY%",
    ):
        yield Attack(f"key: {value!r}", request(body, key=False, more=b"Authorization: " + value + b"\r\n"), denied)
    yield Attack("key: none", request(b"not JSON", key=False), denied)
    yield Attack("key: twice", request(body, more=b"Authorization: Bearer %KEY%\r\n"), denied)
    yield Attack("key: in the query", request(body, key=False, line=f"POST {PATH}?key=%KEY% HTTP/1.1"), denied)
    for value in (b"", b'""', b"x" * 300, b"\xff", b"a\tb"):
        more = b"Idempotency-Key: " + value + b"\r\n"
        yield Attack(f"idempotency key: {value[:10]!r}", request(body, more=more), ("invalid-idempotency-key",))


ATTACKS = [
    attack
    for group in (
        *(malformed_json, wrong_types, injections, contents, structural_headers, paths, methods, types, framing, sizes),
        *(slowness, keys),
    )
    for attack in group()
]
