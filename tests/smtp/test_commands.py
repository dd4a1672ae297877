"""Commands carry what the server offered, and never more than one line each."""

from __future__ import annotations

import pytest

from app.mail.transaction import Envelope
from app.smtp.commands import commands_of
from app.smtp.target import Features, features_of

PLAIN = Features(size=None, pipelining=True, smtputf8=False, takes_size=False)
FULL = Features(size=1000, pipelining=True, smtputf8=True)


@pytest.mark.parametrize(
    ("envelope", "features", "lines"),
    [
        (
            Envelope("a@b.example", ("c@d.example", "e@f.example"), 7),
            FULL,
            [b"RSET", b"MAIL FROM:<a@b.example> SIZE=7", b"RCPT TO:<c@d.example>", b"RCPT TO:<e@f.example>", b"DATA"],
        ),
        (Envelope("", ("c@d.example",), 7), PLAIN, [b"RSET", b"MAIL FROM:<>", b"RCPT TO:<c@d.example>", b"DATA"]),
        (
            Envelope("a@b.example", ("jürgen@d.example",), 7, smtputf8=True),
            FULL,
            [
                b"RSET",
                b"MAIL FROM:<a@b.example> SIZE=7 BODY=8BITMIME SMTPUTF8",
                "RCPT TO:<jürgen@d.example>".encode(),
                b"DATA",
            ],
        ),
    ],
)
def test_the_envelope_becomes_commands(envelope: Envelope, features: Features, lines: list[bytes]) -> None:
    assert commands_of(envelope, features) == [line + b"\r\n" for line in lines]


@pytest.mark.parametrize("address", ["a@b>\r\nRCPT TO:<c@d", "a\n@b", "a\0@b", "<a@b>", "jürgen@d.example"])
def test_an_address_that_would_be_more_than_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError):
        commands_of(Envelope("a@b.example", (address,), 7), FULL)
    with pytest.raises(ValueError):
        commands_of(Envelope(address, ("a@b.example",), 7), FULL)


@pytest.mark.parametrize(
    ("lines", "features"),
    [
        (("h Hello",), Features(None, False, False, False, frozenset())),
        (
            ("h", "SIZE 157286400", "pipelining", "SMTPUTF8", "auth login xoauth2"),
            Features(157_286_400, True, True, True, frozenset({"LOGIN", "XOAUTH2"})),
        ),
        (("h", "SIZE", "AUTH=PLAIN LOGIN", ""), Features(None, False, False, True, frozenset({"PLAIN", "LOGIN"}))),
        (("h", "SIZE 0"), Features(None, False, False, True, frozenset())),
        (("h", "SIZE many"), Features(None, False, False, True, frozenset())),
        (("PIPELINING", "x"), Features(None, False, False, False, frozenset())),
    ],
)
def test_an_ehlo_answer_is_read(lines: tuple[str, ...], features: Features) -> None:
    assert features_of(lines) == features
