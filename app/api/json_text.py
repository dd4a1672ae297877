"""Reads a JSON body: strictly, once, and without letting a large one hold up everybody else.

Strict means: UTF-8, one object, no name twice, no NaN, no lone surrogate, bounded nesting; else 400 ``malformed-json``.

A large body is large because of a few long strings (attachments, texts). They are cut out of the octets first, so that
the parser sees a small document, and each is decoded in pieces within the body's own memory. The interpreter's lock is
then never held for long (a plain parse of 40 MB holds it for 80 to 250 ms where slashes are escaped), memory stays at
body + decoded strings, and a body of ten million tiny values is refused before it becomes ten million objects.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from app.web.problems import Problem

# Strings from this many octets are cut out; the rest of the document may have so many octets in all.
LONG: Final = 16 * 1024
_MOST_STRUCTURE: Final = 1024 * 1024
_PIECE: Final = 128 * 1024
_QUOTE, _BACKSLASH = b'"', 0x5C
# No text has so long a run of escaped backslashes; whoever sends one wants us to count.
_LONGEST_RUN: Final = 4 * 1024 * 1024
# Behind these a literal may be cut without cutting an escape, a surrogate pair or a character in two: twelve plain
# characters, one escape that does not open a pair (exactly one backslash begins it), one character outside ASCII.
_SAFE_CUT: Final = re.compile(
    rb"[\x20-\x5b\x5d-\x7f]{12}"
    rb'|[^\\]\\(?:["/bfnrt]|u(?![dD][89abAB])[0-9a-fA-F]{4})'
    rb"|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)

Json = dict[str, Any]


def _malformed(detail: str) -> Problem:
    return Problem("malformed-json", detail)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("a name stands twice in an object")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise _malformed("NaN and Infinity are not JSON")


_decode: Final = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant).decode


def read_json(body: bytes | bytearray) -> Json:
    """Return the object a body holds; raises ``Problem`` (400 ``malformed-json``)."""
    try:
        text = body.decode("utf-8")
        found = _decode(text)
        # Only an escape can bring a lone surrogate in, raw ones are no UTF-8.
        if "\\u" in text and ("\\ud" in text or "\\uD" in text):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _malformed("a lone surrogate is not a character") from None
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8") from None
    except RecursionError:
        raise _malformed("nested too deeply") from None
    except ValueError:
        raise _malformed("the body is not JSON") from None
    if not isinstance(found, dict):
        raise _malformed("the body is not a JSON object")
    return found


def read_large_json(body: bytearray) -> Json:
    """Return the object a large body holds, as ``read_json`` does; ``body`` is used up.

    Takes time: call it in a thread. Raises ``Problem`` 413 where more than 1 MiB is left without the long strings.
    """
    spans, structure = _cut_long_strings(body, marker := f"\x01{secrets.token_hex(16)}:")
    document = read_json(structure)
    try:
        strings = {f"{marker}{no}": _decode_string(body, *span) for no, span in enumerate(spans)}
    except ValueError:
        raise _malformed("the body is not JSON") from None
    filled: Json = _fill(document, strings)
    return filled


def _cut_long_strings(body: bytearray, marker: str) -> tuple[list[tuple[int, int]], bytes]:
    """Return where the long strings lie, and the document with marks in their places."""
    spans: list[tuple[int, int]] = []
    parts: list[bytes] = []
    size = kept = at = 0
    while (opening := body.find(_QUOTE, at)) >= 0:
        closing = _closing_quote(body, opening + 1)
        at = closing + 1
        if closing - opening > LONG:
            mark = json.dumps(f"{marker}{len(spans)}").encode()
            spans.append((opening + 1, closing))
            parts += (bytes(body[kept:opening]), mark)
            size += opening - kept + len(mark)
            kept = at
        if size + at - kept > _MOST_STRUCTURE:
            break
    if size + len(body) - kept > _MOST_STRUCTURE:
        detail = f"without texts and attachments a body may have {_MOST_STRUCTURE} octets"
        raise Problem("payload-too-large", detail, members={"limit": _MOST_STRUCTURE})
    parts.append(bytes(body[kept:]))
    return spans, b"".join(parts)


def _closing_quote(body: bytearray, start: int) -> int:
    """Return where a string ends: at the first quote with an even number of backslashes before it."""
    at = start
    while (at := body.find(_QUOTE, at)) >= 0:
        backslashes = at
        while backslashes > start and body[backslashes - 1] == _BACKSLASH:
            backslashes -= 1
            if at - backslashes > _LONGEST_RUN:
                raise _malformed("too many backslashes")
        if (at - backslashes) % 2 == 0:
            return at
        at += 1
    raise _malformed("the body is not JSON")


def _decode_string(body: bytearray, start: int, end: int) -> str:
    """Decode a string literal piece by piece into its own place, which an escape never outgrows."""
    write = read = start
    while read < end:
        cut = _SAFE_CUT.search(body, min(read + _PIECE, end), end)
        stop = cut.end() if cut else end
        if stop - read > _PIECE + 2 * _LONGEST_RUN:
            raise _malformed("too many backslashes")
        octets = from_json(b'"' + body[read:stop] + b'"').encode()
        body[write : write + len(octets)] = octets
        write += len(octets)
        read = stop
    with memoryview(body) as view:
        return str(view[start:write], "utf-8")


def _fill(value: Any, strings: dict[str, str]) -> Any:
    if isinstance(value, str):
        return strings.get(value, value)
    if isinstance(value, list):
        return [_fill(each, strings) for each in value]
    if isinstance(value, dict):
        return {strings.get(name, name): _fill(each, strings) for name, each in value.items()}
    return value


def fingerprint(method: str, route: str, document: Json, files: Sequence[Sequence[str]] = ()) -> bytes:
    """Return what makes two requests the same: SHA-256 over method, route and canonical JSON (RFC 8785 in spirit).

    Long strings count by their own SHA-256, so that a document of 40 MB is not written out a second time. ``files``
    are what identifies the file parts of a multipart request, in order.
    """
    digest = hashlib.sha256(f"{method} {route}\n".encode())
    digest.update(_dump(_shorten(document)))
    for file in files:
        digest.update(b"\n" + _dump(file))
    return digest.digest()


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _shorten(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONG else {"sha256": _digest(value)}
    if isinstance(value, list):
        return [_shorten(each) for each in value]
    if isinstance(value, dict):
        return {name: _shorten(each) for name, each in value.items()}
    return value


def _digest(text: str) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(text), _PIECE):
        digest.update(text[start : start + _PIECE].encode())
    return digest.hexdigest()
