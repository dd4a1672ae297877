"""Content is stuffed right however it is cut, and never held whole."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.smtp.upload import PIECE, Stuffer, Unreadable, Upload
from tests.support.smtp_stage import Octets


def unstuffed(wire: bytes) -> bytes:
    """Undo the transparency of DATA as a receiver does, line by line (RFC 5321 §4.5.2)."""
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""], "it ends with a dot on a line of its own"
    assert b"." not in lines[:-2], "and no line before is a lone dot"
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:-2])


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n.a\r\n", b"...\r\n..a\r\n.\r\n"),
        (b"a.\r\nb.c\r\n\r\n.\r\n", b"a.\r\nb.c\r\n\r\n..\r\n.\r\n"),
    ],
)
def test_dots_are_doubled_at_the_head_of_a_line_only(content: bytes, wire: bytes) -> None:
    stuffer = Stuffer()
    assert stuffer.stuff(content) + stuffer.end() == wire


@given(
    st.lists(st.sampled_from([b".", b"..", b"a", b"a.", b"", b".b"]), max_size=12),
    st.lists(st.integers(min_value=0, max_value=50)),
)
def test_cuts_change_nothing_and_a_receiver_reads_it_back(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    stuffer = Stuffer()
    pieces = [stuffer.stuff(content[start:end]) for start, end in itertools.pairwise(places)]
    assert unstuffed(b"".join(pieces) + stuffer.end()) == content


@pytest.mark.parametrize("sizes", [(0,), (1,), (PIECE,), (PIECE - 1, 1), (1,) * 20])
async def test_up_to_one_write_is_small(sizes: tuple[int, ...]) -> None:
    upload = Upload(Octets(*(b"x" * size for size in sizes)))
    await upload.begin()
    assert upload.is_small
    assert upload.whole() == b"x" * sum(sizes) + (b"\r\n.\r\n" if sum(sizes) else b".\r\n")


@pytest.mark.parametrize("sizes", [(PIECE + 1,), (PIECE, 1), (262_144, 262_144, 3), (10,) * 6554])
async def test_more_is_cut_into_writes(sizes: tuple[int, ...]) -> None:
    upload = Upload(Octets(*(b"x" * size for size in sizes)))
    await upload.begin()
    assert not upload.is_small
    pieces = [piece async for piece in upload.pieces()]
    assert max(len(piece) for piece in pieces) <= PIECE
    assert b"".join(pieces) == b"x" * sum(sizes)


async def test_a_source_that_fails_is_told_apart() -> None:
    upload = Upload(Octets(b"x" * PIECE, b"y", b"z", failure=OSError("the password is swordfish")))
    await upload.begin()
    with pytest.raises(Unreadable, match=r"^the content could not be read \(OSError\)$"):
        async for _ in upload.pieces():
            pass


async def test_closing_ends_the_source_wherever_it_stopped() -> None:
    ended: list[str] = []

    class Watched:
        async def chunks(self) -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * PIECE
            finally:
                ended.append("closed")

    upload = Upload(Watched())
    await upload.begin()
    await upload.close()
    assert ended == ["closed"]
