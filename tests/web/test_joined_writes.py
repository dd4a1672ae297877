"""Head and body of an answer leave in one write; nothing is held longer than a turn of the loop."""

from __future__ import annotations

import asyncio

from app.web.server import JoinedWrites


class Wire(asyncio.Transport):
    """Notes what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def _joined() -> tuple[JoinedWrites, Wire]:
    wire = Wire()
    return JoinedWrites(wire, asyncio.get_running_loop()), wire


async def test_head_and_body_are_one_write() -> None:
    joined, wire = _joined()
    joined.write(b"head")
    joined.write(b"body")
    assert wire.written == [b"headbody"]
    await asyncio.sleep(0)
    assert wire.written == [b"headbody"]


async def test_a_piece_that_stays_alone_leaves_when_the_turn_ends() -> None:
    """As 100 Continue does, or the head of an answer whose body takes its time."""
    joined, wire = _joined()
    joined.write(b"head")
    assert wire.written == []
    await asyncio.sleep(0)
    assert wire.written == [b"head"]


async def test_an_empty_body_sends_the_head() -> None:
    joined, wire = _joined()
    joined.write(b"head")
    joined.write(b"")
    assert wire.written == [b"head"]


async def test_what_is_held_is_sent_before_closing() -> None:
    joined, wire = _joined()
    joined.write(b"head")
    joined.close()
    assert (wire.written, joined.is_closing()) == ([b"head"], True)
    assert joined.get_extra_info("peername") == ("192.0.2.1", 5)
