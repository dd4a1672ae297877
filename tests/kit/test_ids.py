"""Ids are new, sort by time, and have one shape."""

from __future__ import annotations

import os
import threading
import uuid

from app.kit.ids import encode_id, is_id, new_id

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _decode(text: str) -> uuid.UUID:
    value = 0
    for letter in text.partition("_")[2]:
        value = value * 32 + _LETTERS.index(letter)
    return uuid.UUID(int=value >> 2)


def test_an_id_is_a_uuid_of_version_7() -> None:
    """Decoded, it has the version, the variant and the millisecond of its making."""
    made = _decode(encode_id("msg", 1_795_600_000_123_456_789, b"\xff" * 8))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_795_600_000_123


def test_ids_sort_by_the_time_of_their_making() -> None:
    """Also within one millisecond, whatever chance gave."""
    early = encode_id("msg", 1_795_600_000_123_100_000, b"\xff" * 8)
    late = encode_id("msg", 1_795_600_000_123_900_000, b"\x00" * 8)
    assert early < late < encode_id("msg", 1_795_600_000_124_000_000, b"\x00" * 8)


def test_ten_thousand_ids_differ() -> None:
    """Chance fills what time leaves open."""
    assert len({new_id("msg") for _ in range(10_000)}) == 10_000


def test_only_an_id_looks_like_one() -> None:
    """The shape is checked before a store is asked."""
    assert is_id(new_id("msg"), "msg")
    for wrong in ("", "msg_", new_id("req"), new_id("msg") + "0", new_id("msg").lower(), "msg_" + "I" * 26):
        assert not is_id(wrong, "msg")


def test_a_child_process_gives_out_other_chance_than_its_parent() -> None:
    """What was fetched for many ids is nobody else's."""
    new_id("msg")
    end, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, " ".join(new_id("msg")[-12:] for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = set(os.read(end, 10_000).decode().split())
    os.close(end)
    os.close(begin)
    assert len(theirs) == 50
    assert theirs.isdisjoint(new_id("msg")[-12:] for _ in range(600))


def test_threads_never_share_chance() -> None:
    """Each piece is handed out once."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id("msg") for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each[-12:] for each in made}) == 8000
