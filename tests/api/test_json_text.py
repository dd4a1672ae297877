"""JSON bodies are read strictly, and large ones as small ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api import json_text
from app.api.json_text import fingerprint, read_json, read_large_json
from app.api.reader import JsonReader
from app.web.problems import Problem

MALFORMED = {
    "nothing": b"",
    "no JSON": b"hello",
    "cut off": b'{"a": "b',
    "trailing comma": b'{"a": 1,}',
    "more behind": b'{"a": 1} {}',
    "single quotes": b"{'a': 1}",
    "a comment": b'{"a": 1} // b',
    "no object": b"[]",
    "a string": b'"a"',
    "null": b"null",
    "a name twice": b'{"a": 1, "a": 1}',
    "a name twice, deeper": b'{"a": [{"b": {"c": 1, "c": 2}}]}',
    "a name twice, escaped once": b'{"a": 1, "\\u0061": 2}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "lone high surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": "\\uDC00"}',
    "surrogates the wrong way": b'{"a": "\\udc00\\ud800"}',
    "lone surrogate in a name": b'{"\\ud800": 1}',
    "Latin-1": '{"a": "ä"}'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "overlong UTF-8": b'{"a": "\xc0\x80"}',
    "raw control character": b'{"a": "\x01"}',
    "raw line break": b'{"a": "\n"}',
    "deep lists": b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a number without end": b'{"a": ' + b"1" * 5_000 + b"}",
    "leading zero": b'{"a": 01}',
    "bad escape": b'{"a": "\\x41"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_one_clean_object_is_malformed(body: bytes) -> None:
    """By both ways of reading."""
    for read in (read_json, lambda octets: read_large_json(bytearray(octets))):
        with pytest.raises(Problem) as caught:
            read(body)
        assert caught.value.kind.code == "malformed-json"
        assert caught.value.status == 400


LONG = "x" * (json_text.LONG + 1)
MALFORMED_LONG = {
    "raw control character": f'{{"a": "{LONG}\x01"}}'.encode(),
    "lone surrogate": f'{{"a": "{LONG}\\ud800"}}'.encode(),
    "bad escape": f'{{"a": "{LONG}\\x"}}'.encode(),
    "bad UTF-8": f'{{"a": "{LONG}'.encode() + b'\xff"}',
    "no end": f'{{"a": "{LONG}'.encode(),
    "escaped end": f'{{"a": "{LONG}\\"'.encode(),
    "a long name twice": f'{{"{LONG}": 1, "{LONG}": 2}}'.encode(),
    "a name twice around a long string": f'{{"a": "{LONG}", "a": 1}}'.encode(),
    "backslashes only": b'{"a": "' + b"\\\\" * 7_000_000 + b'"}',
}


@pytest.mark.parametrize("body", MALFORMED_LONG.values(), ids=MALFORMED_LONG.keys())
def test_a_long_string_hides_nothing(body: bytes) -> None:
    """What is wrong within or around it is found (a long name twice by being an unknown field, later)."""
    if body is MALFORMED_LONG["a long name twice"]:
        assert len(read_large_json(bytearray(body))) == 1
        return
    with pytest.raises(Problem) as caught:
        read_large_json(bytearray(body))
    assert caught.value.kind.code == "malformed-json"


_PIECES = st.sampled_from(
    [
        "x" * 700,
        '"',
        "\\",
        "/",
        "\n",
        "\t",
        "ä",
        "中",
        "😀",
        "\u2028",
        "é" * 300,
        "\\u0041",
        "\ud83d".replace("\ud83d", "😀"),
        "=+",
    ]
)
_STRINGS = st.lists(_PIECES, max_size=60).map("".join)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(document=st.dictionaries(st.text(max_size=5), _VALUES, max_size=5), escaped=st.booleans(), php=st.booleans())
def test_large_and_small_ways_read_the_same(document: dict[str, Any], escaped: bool, php: bool) -> None:
    """However a writer escapes, and wherever a piece is cut."""
    text = json.dumps(document, ensure_ascii=escaped)
    if php:
        text = text.replace("/", "\\/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "LONG", 64)
        patch.setattr(json_text, "_PIECE", 50)
        assert read_large_json(bytearray(text.encode())) == document
    assert read_json(text.encode()) == document


def test_many_small_values_are_too_much_without_becoming_objects() -> None:
    """A body of forty megabytes of them would be gigabytes in memory."""
    for many in (b'"a",' * 3_000_000, b"[]," * 3_000_000, b" " * 3_000_000):
        with pytest.raises(Problem) as caught:
            read_large_json(bytearray(b'{"to": [' + many + b'"b"]}'))
        assert caught.value.kind.code == "payload-too-large"


def test_the_callers_strings_cannot_pretend_to_be_a_cut_out_one() -> None:
    """The marks are new each time, and hold a character that no string of JSON may have raw."""
    document = {"a": LONG, "b": "\x010:", "c": "\x01" + "0" * 32 + ":0"}
    assert read_large_json(bytearray(json.dumps(document).encode())) == document


async def test_the_loop_goes_on_while_a_large_body_is_read() -> None:
    """A body of 34 MB as PHP writes it; the longest silence is far under 100 ms, plus what this machine adds."""
    body = bytearray(b'{"content": "' + b"QUJD\\/UJD" * 3_700_000 + b'"}')
    longest, loop = 0.0, asyncio.get_running_loop()
    reading = asyncio.create_task(JsonReader().read(body))
    while not reading.done():
        before = loop.time()
        await asyncio.sleep(0.001)
        longest = max(longest, loop.time() - before)
    assert len((await reading)["content"]) == 8 * 3_700_000
    assert longest < 0.1


BASE = {"to": ["a"], "text": "x" * 20_000, "n": {"b": 1, "a": [1, 2]}}


def test_the_fingerprint_is_of_the_meaning_not_of_the_writing() -> None:
    """Order of names and white space do not count; method, route, any value and any file do."""
    mark = fingerprint("POST", "/a", BASE)
    assert fingerprint("POST", "/a", dict(reversed(BASE.items()))) == mark
    others = [
        fingerprint("PUT", "/a", BASE),
        fingerprint("POST", "/b", BASE),
        fingerprint("POST", "/a", {**BASE, "to": ["b"]}),
        fingerprint("POST", "/a", {**BASE, "text": "x" * 19_999 + "y"}),
        fingerprint("POST", "/a", {**BASE, "n": {"b": 1, "a": [2, 1]}}),
        fingerprint("POST", "/a", BASE, [("file", "a.txt", "text/plain", "00")]),
    ]
    assert len({mark, *others}) == len(others) + 1
