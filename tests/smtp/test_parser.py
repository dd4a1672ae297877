"""Replies are taken apart strictly, and however the octets are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.smtp.parser import LIMIT, RawReply, ReplyParser

LONG = "554 5.2.252 SendAsDenied; " + "diagnostic " * 300


@pytest.mark.parametrize(
    ("octets", "replies"),
    [
        (b"250 2.0.0 OK\r\n", [RawReply(250, ("2.0.0 OK",))]),
        (b"250\r\n", [RawReply(250, ("",))]),
        (b"250 \r\n", [RawReply(250, ("",))]),
        (b"250-one\r\n250-two\r\n250 three\r\n", [RawReply(250, ("one", "two", "three"))]),
        (b"250-\r\n250\r\n", [RawReply(250, ("", ""))]),
        (
            b"250 a\r\n550-b\r\n550 c\r\n354 d\r\n",
            [RawReply(250, ("a",)), RawReply(550, ("b", "c")), RawReply(354, ("d",))],
        ),
        (LONG.encode() + b"\r\n", [RawReply(554, (LONG[4:],))]),
        ("250 grüße \N{SNOWMAN}\r\n".encode(), [RawReply(250, ("grüße \N{SNOWMAN}",))]),
        (b"250 \xff\x00\x1b[31m\r\n", [RawReply(250, ("\N{REPLACEMENT CHARACTER}  [31m",))]),
    ],
)
def test_complete_replies_are_returned(octets: bytes, replies: list[RawReply]) -> None:
    parser = ReplyParser()
    assert parser.feed(octets) == replies
    assert parser.fault is None and not parser.is_amid


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"250 OK\n", "a line that ends with a bare LF"),
        (b"\n", "a line that ends with a bare LF"),
        (b"250-one\n250 two\r\n", "a line that ends with a bare LF"),
        (b"250 O\rK\r\n", "a line that is no reply"),
        (b"hello\r\n", "a line that is no reply"),
        (b"\r\n", "a line that is no reply"),
        (b"25 OK\r\n", "a line that is no reply"),
        (b"2500 OK\r\n", "a line that is no reply"),
        (b"150 OK\r\n", "a line that is no reply"),
        (b"650 OK\r\n", "a line that is no reply"),
        (b"250+OK\r\n", "a line that is no reply"),
        ("٢٥٠ OK\r\n".encode(), "a line that is no reply"),
        (b"250-one\r\n251 two\r\n", "a reply with two codes"),
        (b"250 " + b"x" * LIMIT + b"\r\n", f"a reply of more than {LIMIT} octets"),
        (b"250 " + b"x" * LIMIT, f"a reply of more than {LIMIT} octets"),
        (b"250-line\r\n" * (LIMIT // 10 + 1), f"a reply of more than {LIMIT} octets"),
    ],
)
def test_a_breach_of_the_syntax_is_a_fault(octets: bytes, fault: str) -> None:
    parser = ReplyParser()
    assert parser.feed(b"220 before\r\n" + octets) == [RawReply(220, ("before",))]
    assert parser.fault == fault
    assert parser.feed(b"250 OK\r\n") == []


def test_a_reply_of_exactly_the_limit_is_taken() -> None:
    line = b"250 " + b"x" * (LIMIT - 6) + b"\r\n"
    parser = ReplyParser()
    assert [len(reply.lines[0]) for reply in parser.feed(line * 3)] == [LIMIT - 6] * 3


def test_half_a_reply_is_amid() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250-one\r\n") == [] and parser.is_amid
    assert parser.feed(b"250 tw") == [] and parser.is_amid
    assert parser.feed(b"o\r\n") == [RawReply(250, ("one", "two"))] and not parser.is_amid


@given(st.lists(st.integers(min_value=0, max_value=80)))
def test_it_does_not_matter_where_the_octets_are_cut(cuts: list[int]) -> None:
    octets = b"250-one\r\n250 two\r\n354 go\r\n550-5.1.1 no\r\n550-5.1.1 really\r\n550 5.1.1 no\r\n"
    places = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    parser = ReplyParser()
    replies = [reply for start, end in itertools.pairwise(places) for reply in parser.feed(octets[start:end])]
    assert replies == ReplyParser().feed(octets)
    assert len(replies) == 3
