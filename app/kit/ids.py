"""Makes names for things: a prefix and a UUIDv7 in 26 letters, so that names sort by the time of their making.

The letters are Crockford's base32 (no I, L, O, U), upper case, left-aligned, so ``msg_06F3…`` sorts as text. An id
never contains a dot, and callers may rely on nothing else of its inside. This is the one place besides the clock that
reads the time: an id wants to be new, not to tell when, and moving a test's clock must not make two ids alike.

Chance is the system's own (``os.urandom``), fetched for 512 ids at a time: each call lets go of the interpreter, and
where the store's thread waits for that, getting it back costs an id five times what it costs otherwise.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_BODY: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")

_OCTETS: Final = 8  # of chance in an id
_STOCK: Final = 4096  # octets fetched at once
_stock: list[bytes] = []
# A child process must never give out what its parent holds.
os.register_at_fork(after_in_child=_stock.clear)


def encode_id(prefix: str, nanoseconds: int, chance: bytes) -> str:
    """Return the id for an instant (nanoseconds since 1970) and 8 octets of chance.

    RFC 9562 §5.7; the 12 bits behind the version hold the fraction of the millisecond (§6.2, method 3), so ids made
    one after the other sort that way even within a millisecond.
    """
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    time_bits = (milliseconds & 0xFFFFFFFFFFFF) << 16 | 0x7 << 12 | (rest << 12) // 1_000_000
    chance_bits = 0x2 << 62 | int.from_bytes(chance, "big") & 0x3FFFFFFFFFFFFFFF
    # 128 bits into 26 letters of 5, the last two bits 0: 60 bits, then 70. Written out, since a loop takes half as
    # long again.
    a, b = time_bits >> 4, (time_bits & 0xF) << 66 | chance_bits << 2
    return (
        f"{prefix}_{_PAIRS[a >> 50]}{_PAIRS[a >> 40 & 1023]}{_PAIRS[a >> 30 & 1023]}{_PAIRS[a >> 20 & 1023]}"
        f"{_PAIRS[a >> 10 & 1023]}{_PAIRS[a & 1023]}{_PAIRS[b >> 60]}{_PAIRS[b >> 50 & 1023]}{_PAIRS[b >> 40 & 1023]}"
        f"{_PAIRS[b >> 30 & 1023]}{_PAIRS[b >> 20 & 1023]}{_PAIRS[b >> 10 & 1023]}{_PAIRS[b & 1023]}"
    )


def new_id(prefix: str) -> str:
    """Return a new id such as ``msg_06F3…`` for the prefix ``msg``."""
    return encode_id(prefix, time.time_ns(), _chance())


def _chance() -> bytes:
    """Return octets of chance that nobody has had; safe in threads, since ``pop`` hands each out once."""
    try:
        return _stock.pop()
    except IndexError:
        fetched = os.urandom(_STOCK)
        _stock.extend(fetched[at : at + _OCTETS] for at in range(_OCTETS, _STOCK, _OCTETS))
        return fetched[:_OCTETS]


def is_id(text: str, prefix: str) -> bool:
    """Whether a text has the shape of an id with this prefix."""
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None
