"""Files that arrive apart: encoded as they come, numbered so that the order of their arrival does not matter."""

from __future__ import annotations

from base64 import encodebytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mail.base64_lines import Base64Lines
from app.mail.compose import compose, zone_of
from app.mail.draft import Attachment, Draft
from app.mail.plan import FilePart, Zone, chunk_number, slot_of
from tests.mail.letters import BOUNDARY, DATE_OCTETS, MESSAGE_ID, draft, file, plan_of, written

PDF = Attachment("b.pdf", "application/pdf", None, "first")
LOGO = Attachment("logo.png", "image/png", None, "second", "logo", is_inline=True)
INVITE = Attachment("invite.ics", "text/calendar; method=REQUEST", None, "third")
OCTETS = {"first": b"f" * 500_000, "second": b"", "third": b"BEGIN:VCALENDAR\r\n" * 9}


def uploaded(message: Draft, arrivals: tuple[Attachment, ...]) -> tuple[bytes, int]:
    """Take files in as a door does: each is encoded and kept before the next begins, the rest is written last."""
    kept: dict[int, bytes] = {}
    size = 0
    for arrival, attachment in enumerate(arrivals):
        lines = Base64Lines()
        slot = slot_of(zone_of(message, attachment), arrival)
        octets = OCTETS[attachment.part or ""]
        pieces = [octets[at : at + 60_000] for at in range(0, len(octets), 60_000)]
        for place, chunk in enumerate([*map(lines.feed, pieces), lines.finish()]):
            kept[chunk_number(slot, place)] = chunk
        size += lines.size
    plan = plan_of(Draft(**{**_fields(message), "attachments": (*message.attachments, *arrivals)}))
    for number, chunk in plan.numbered():
        assert number not in kept
        kept[number] = chunk
    return b"".join(kept[number] for number in sorted(kept)), plan.size + size


def _fields(message: Draft) -> dict[str, object]:
    return {name: getattr(message, name) for name in Draft.__slots__}


@pytest.mark.parametrize("arrivals", [(PDF, LOGO, INVITE), (INVITE, LOGO, PDF), (LOGO,), (PDF, INVITE), ()])
def test_files_that_arrive_in_any_order_make_the_content_of_files_that_came_with_the_draft(
    arrivals: tuple[Attachment, ...],
) -> None:
    message = draft(text="t", html="h", attachments=(file(b"own", "own.pdf"),))
    octets, size = uploaded(message, arrivals)
    whole = tuple(
        file(
            OCTETS[each.part or ""],
            each.filename,
            each.content_type,
            content_id=each.content_id,
            is_inline=each.is_inline,
        )
        for each in arrivals
    )
    assert octets == written(draft(text="t", html="h", attachments=(*message.attachments, *whole)))
    assert size == len(octets) + DATE_OCTETS


def test_a_plan_with_files_to_come_cannot_be_read_alone() -> None:
    plan = compose(draft(attachments=(PDF,)), message_id=MESSAGE_ID, boundary=BOUNDARY)
    assert [type(piece) for piece in plan.pieces].count(FilePart) == 1
    with pytest.raises(ValueError, match="apart"):
        plan.chunks()


def test_numbers_follow_the_content_and_fit_into_31_bits() -> None:
    slots = [slot_of(zone, arrival) for zone in Zone for arrival in (0, 1, 2047)]
    numbers = [chunk_number(slot + side, chunk) for slot in slots for side in (0, 1) for chunk in (0, 65_535)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > chunk_number(0, 65_535)
    assert numbers[-1] < 2**31


@pytest.mark.parametrize("arrival", [-1, 2048])
def test_a_file_beyond_the_last_slot_is_refused(arrival: int) -> None:
    with pytest.raises(ValueError, match="more files"):
        slot_of(Zone.FILE, arrival)


def test_a_chunk_beyond_the_last_number_is_refused() -> None:
    with pytest.raises(ValueError, match="more chunks"):
        chunk_number(1, 65_536)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=200), max_size=12))
def test_octets_in_any_pieces_become_the_same_lines(pieces: list[bytes]) -> None:
    lines = Base64Lines()
    found = b"".join([*map(lines.feed, pieces), lines.finish()])
    assert found == encodebytes(b"".join(pieces)).replace(b"\n", b"\r\n")
    assert lines.size == len(found)
    assert lines.finish() == b""
