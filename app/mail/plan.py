"""The plan of a content: literal octets and attachments in order, read in chunks of at most 256 KiB.

Reading never joins an attachment and keeps no more than one chunk. Files that arrive apart from the draft are stored
under numbers that fit between the rest, whatever the order of their arrival. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from app.mail.base64_lines import Base64Error, size_of, wrap

CHUNK_LIMIT: Final = 256 * 1024  # octets

# Numbers of chunks: 16 bits for the chunks of one place, places for 2,048 files in each zone, 3 zones; 31 bits in all.
_CHUNKS: Final = 1 << 16
_PLACES: Final = 1 << 12


class ContentError(ValueError):
    """A draft that cannot be written. ``pointer`` (RFC 6901) names the field; the text repeats nothing of it."""

    def __init__(self, code: str, pointer: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.pointer = pointer


class Zone(IntEnum):
    """Where among the parts a file stands, in the order of the content."""

    INVITATION = 0  # in multipart/alternative
    INLINE = 1  # in multipart/related
    FILE = 2  # in multipart/mixed


def slot_of(zone: Zone, arrival: int) -> int:
    """Return the slot of the file that arrives as number ``arrival`` (0, 1, …) of a message's files.

    Slots of files are odd and stand in the order of the content; what stands between two files has the even ones.
    """
    if not 0 <= arrival < _PLACES // 2:
        raise ValueError("more files than a message can have")
    return zone * _PLACES + 2 * arrival + 1


def chunk_number(slot: int, chunk: int) -> int:
    """Return the number of a slot's chunk (0, 1, …) among all chunks of a content: ascending, with gaps."""
    if not 0 <= chunk < _CHUNKS:
        raise ValueError("more chunks than a file can have")
    return slot * _CHUNKS + chunk


@dataclass(frozen=True, slots=True)
class Literal:
    """Octets that are ready."""

    octets: bytes

    @property
    def size(self) -> int:
        """Octets in the content."""
        return len(self.octets)

    def lines(self) -> Iterator[bytes]:
        """Yield the octets in pieces of at most ``CHUNK_LIMIT``."""
        if len(self.octets) <= CHUNK_LIMIT:
            yield self.octets
            return
        for start in range(0, len(self.octets), CHUNK_LIMIT):
            yield self.octets[start : start + CHUNK_LIMIT]


@dataclass(frozen=True, slots=True)
class Base64Text:
    """Base64 as it was given, to be checked and wrapped; ``letters`` without white space, ``pointer`` its place."""

    text: str
    letters: int
    pointer: str

    @property
    def size(self) -> int:
        """Octets in the content."""
        return size_of(self.letters)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines in pieces of at most ``CHUNK_LIMIT``; raises ``ContentError``."""
        try:
            yield from wrap(self.text)
        except Base64Error:
            raise ContentError("base64", self.pointer, "is not base64 (RFC 4648 §4)") from None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file that arrives apart, as the part named ``part``; its lines are stored under ``slot``."""

    part: str
    slot: int
    size: int = 0  # not known here


Piece = Literal | Base64Text | FilePart


@dataclass(frozen=True, slots=True)
class Plan:
    """What a content is made of.

    ``size``: octets on the wire with the Date line, not dot-stuffed, without the files that arrive apart (add the
    ``size`` of their ``Base64Lines``). ``needs_smtputf8``: an address in envelope or header has a local part outside
    ASCII (RFC 6531), and stands there as it is (RFC 6532).
    """

    pieces: tuple[Piece, ...]
    size: int
    needs_smtputf8: bool

    def chunks(self) -> Iterator[bytes]:
        """Yield the content without the Date line in chunks of at most 256 KiB; raises ``ContentError``.

        Raises ``ValueError`` where files arrive apart.
        """
        first = self.pieces[0] if len(self.pieces) == 1 else None
        if isinstance(first, Literal) and first.size <= CHUNK_LIMIT:
            return iter((first.octets,))  # most messages: nothing to put together
        if any(isinstance(piece, FilePart) for piece in self.pieces):
            raise ValueError("files of this message arrive apart")
        return (chunk for _, chunk in self.numbered())

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield each chunk with its number, all but those of files that arrive apart; raises ``ContentError``.

        A file's own chunks belong under ``chunk_number(slot, 0)`` and so on; read in the order of the numbers, all
        together are the content.
        """
        slot = number = size = 0
        waiting: list[bytes] = []
        for piece in self.pieces:
            if isinstance(piece, FilePart):
                if waiting:
                    yield chunk_number(slot, number), b"".join(waiting)
                slot, number, size, waiting = piece.slot + 1, 0, 0, []
                continue
            for lines in piece.lines():
                if waiting and size + len(lines) > CHUNK_LIMIT:
                    yield chunk_number(slot, number), b"".join(waiting)
                    number, size, waiting = number + 1, 0, []
                waiting.append(lines)
                size += len(lines)
        if waiting:
            yield chunk_number(slot, number), b"".join(waiting)
