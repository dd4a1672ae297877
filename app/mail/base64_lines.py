"""Base64 as a body wants it: lines of 76 letters with CRLF, made piece by piece, never whole in memory.

Two ways in: base64 text that came in JSON is checked and wrapped anew without being kept decoded; octets that arrive
one after the other are encoded as they come. Sizes are known beforehand. Pure.
"""

from __future__ import annotations

from binascii import Error
from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Final

import pybase64

_LETTERS: Final = 76  # of a line, RFC 2045 §6.8
_OCTETS: Final = 57  # that a line holds
_ROWS: Final = 3360  # lines of a piece: just under 256 KiB
_WHITE: Final = " \t\r\n"
_FEW_ROWS: Final = 256

PIECE: Final = _ROWS * (_LETTERS + 2)


class Base64Error(ValueError):
    """A text that is not base64 (RFC 4648 §4)."""


@lru_cache(maxsize=_FEW_ROWS)
def _cutter(rows: int) -> Struct:
    """Return what takes so many lines apart in one step; slicing line by line takes twice the time."""
    return Struct(f"{_LETTERS}s" * rows)


_PIECE_CUTTER: Final = _cutter(_ROWS)


def size_of(letters: int) -> int:
    """Return the octets of so many letters of base64 in lines."""
    return letters + 2 * -(-letters // _LETTERS)


def count_letters(text: str) -> int:
    """Return how many letters a base64 text has besides its white space."""
    return len(text) - sum(text.count(each) for each in _WHITE if each in text)


def encode(octets: bytes) -> bytes:
    """Return octets as lines."""
    if len(octets) >= _FEW_ROWS * _OCTETS:
        return pybase64.encodebytes(octets).replace(b"\n", b"\r\n")
    # Three times as fast for a text of some kilobytes, which is what most messages are.
    letters = pybase64.b64encode(octets)
    rows = len(letters) // _LETTERS
    last = letters[rows * _LETTERS :]
    whole = _cutter(rows).unpack_from(letters)
    return b"\r\n".join((*whole, last, b"") if last else (*whole, b""))


def wrap(text: str) -> Iterator[bytes]:
    """Yield a base64 text as lines, in pieces of at most 256 KiB.

    White space is taken wherever it stands. Raises ``Base64Error`` at the piece that has another letter, padding
    before the end, or no whole number of quartets.
    """
    has_white = any(each in text for each in _WHITE)
    step = _ROWS * _LETTERS
    carry = b""
    padded = False
    for start in range(0, len(text), step):
        try:
            letters = text[start : start + step].encode("ascii")
        except UnicodeEncodeError:
            raise Base64Error from None
        is_last = start + step >= len(text)
        if has_white:
            letters = carry + letters.translate(None, _WHITE.encode())
            cut = len(letters) if is_last else len(letters) // _LETTERS * _LETTERS
            letters, carry = letters[:cut], letters[cut:]
        # Padding ends the text, RFC 4648 §3.3; within a piece the decoder sees to that.
        if padded and letters:
            raise Base64Error
        try:
            pybase64.b64decode(letters, validate=True)
        except Error:
            raise Base64Error from None
        padded = letters.endswith(b"=")
        yield from _rows(letters)


def _rows(letters: bytes) -> Iterator[bytes]:
    """Yield letters in lines; what white space has carried over may make a second piece."""
    step = _PIECE_CUTTER.size
    for start in range(0, len(letters), step):
        piece = letters[start : start + step]
        if len(piece) == step:
            yield b"\r\n".join((*_PIECE_CUTTER.unpack(piece), b""))
        else:
            rows = [piece[at : at + _LETTERS] for at in range(0, len(piece), _LETTERS)]
            yield b"\r\n".join((*rows, b""))


class Base64Lines:
    """Encodes octets that arrive in pieces of any size. ``size`` tells the octets of the lines given so far."""

    def __init__(self) -> None:
        self._carry = b""
        self.size = 0

    def feed(self, octets: bytes) -> bytes:
        """Take the next octets; return the lines that have become whole."""
        octets = self._carry + octets
        cut = len(octets) // _OCTETS * _OCTETS
        self._carry = octets[cut:]
        return self._counted(encode(octets[:cut]))

    def finish(self) -> bytes:
        """Return the last, shorter line; empty where there is none."""
        octets, self._carry = self._carry, b""
        return self._counted(encode(octets))

    def _counted(self, lines: bytes) -> bytes:
        self.size += len(lines)
        return lines
