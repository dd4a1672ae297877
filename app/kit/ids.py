"""Makes names for things: a prefix and a UUIDv7 in 26 letters, so that names sort by the time of their making.

The letters are Crockford's base32 (no I, L, O, U), upper case, left-aligned, so ``msg_06F3…`` sorts as text. An id
never contains a dot, and callers may rely on nothing else of its inside. This is the one place besides the clock that
reads the time: an id wants to be new, not to tell when, and moving a test's clock must not make two ids alike.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_BODY: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


def encode_id(prefix: str, nanoseconds: int, chance: bytes) -> str:
    """Return the id for an instant (nanoseconds since 1970) and 8 octets of chance.

    RFC 9562 §5.7; the 12 bits behind the version hold the fraction of the millisecond (§6.2, method 3), so ids made
    one after the other sort that way even within a millisecond.
    """
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | 0x7 << 76 | (rest << 12) // 1_000_000 << 64
    value |= 0x2 << 62 | int.from_bytes(chance, "big") & 0x3FFFFFFFFFFFFFFF
    value <<= 2  # 128 bits into 26 letters of 5
    letters = [_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(letters)}"


def new_id(prefix: str) -> str:
    """Return a new id such as ``msg_06F3…`` for the prefix ``msg``."""
    return encode_id(prefix, time.time_ns(), os.urandom(8))


def is_id(text: str, prefix: str) -> bool:
    """Whether a text has the shape of an id with this prefix."""
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None
