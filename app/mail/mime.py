"""Writes the heads of MIME parts: content type, file name, content id, and how parts are put together.

Every body is base64, whatever it is: so no line is ever long, begins with a dot or has eight bits, and no boundary can
stand in a body. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from unicodedata import normalize
from urllib.parse import quote

from app.mail.characters import fault_in_line

FILENAME_LIMIT: Final = 255  # characters

_TOKEN: Final = r"[A-Za-z0-9!#$&^_.+-]{1,127}"  # noqa: S105 (no credential; RFC 6838 §4.2)
_VALUE: Final = rf'{_TOKEN}|"[ !#-\[\]-~]*"'
_MEDIA_TYPE: Final = re.compile(rf"({_TOKEN})/({_TOKEN})((?:[ \t]*;[ \t]*{_TOKEN}=(?:{_VALUE}))*)")
_PARAMETER: Final = re.compile(rf"({_TOKEN})=({_VALUE})")
_MEDIA_TYPE_LIMIT: Final = 255
_CONTENT_ID: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,128}")
# What a quoted string holds without an escape, which some readers would leave in the name.
_PLAIN_FILENAME: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_NOT_IN_FALLBACK: Final = re.compile(r"[^A-Za-z0-9 ._()+-]")
_EXTENSION: Final = re.compile(r"[A-Za-z0-9]{1,10}")
_COMBINING: Final = re.compile("[\u0300-\u036f]")
_CHARSET: Final = "utf-8''"  # and no language, RFC 2231 §4
_SECTION: Final = 60  # octets of a section of a long file name
# Parts that hold a message: RFC 2046 §5.2 allows them no base64, and RFC 6532 §3.7 lifts that only for message/global.
_OPAQUE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class MediaType:
    """A content type: ``name`` is ``type/subtype`` in lower case, parameters are as written (RFC 2045 §5.1)."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def is_invitation(self) -> bool:
        """Whether it is a calendar object that asks for something (RFC 6047 §2.4), not a file to keep."""
        return self.name == "text/calendar" and any(key.lower() == "method" for key, _ in self.parameters)


@lru_cache(maxsize=256)
def read_media_type(text: str) -> MediaType | None:
    """Return the content type of an attachment, None where the text is none or is multipart.

    What holds a message (``message/rfc822``) becomes ``application/octet-stream``: it may not be base64, and octets of
    unknown make cannot go otherwise. A parameter ``name`` is left out, since the file has a name of its own; a
    calendar object without a charset gets its default, UTF-8 (RFC 5545 §3.1.4).
    """
    match = _MEDIA_TYPE.fullmatch(text) if len(text) <= _MEDIA_TYPE_LIMIT else None
    if match is None or match[1].lower() == "multipart":
        return None
    name = f"{match[1]}/{match[2]}".lower()
    if name.startswith("message/") and not name.startswith("message/global"):
        return MediaType(_OPAQUE)
    parameters = [found for found in _PARAMETER.findall(match[3]) if found[0].lower() != "name"]
    if len({key.lower() for key, _ in parameters}) < len(parameters):
        return None
    if name == "text/calendar" and not any(key.lower() == "charset" for key, _ in parameters):
        parameters.append(("charset", "utf-8"))
    return MediaType(name, tuple(parameters))


def is_media_type(text: str) -> bool:
    """Whether a text can be the content type of an attachment."""
    return read_media_type(text) is not None


def is_content_id(text: str) -> bool:
    """Whether a text can be a content id, without its angle brackets (RFC 2392 §2)."""
    return _CONTENT_ID.fullmatch(text) is not None


def fault_in_filename(name: str) -> str | None:
    """Return a sentence about why a file cannot have this name, None where it can. "" is no name."""
    if len(name) > FILENAME_LIMIT:
        return f"must have at most {FILENAME_LIMIT} characters"
    if fault_in_line(name):
        return "must not contain control characters or half a surrogate pair"
    if "/" in name or "\\" in name:
        return "must be a name without folders"
    return None


def text_head(subtype: str) -> str:
    """Return the head of a text in UTF-8."""
    return f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def multipart_head(subtype: str, boundary: str, root: str | None = None) -> str:
    """Return the head of a multipart (RFC 2046 §5.1); ``root`` is the type of the first part (RFC 2387 §3.1)."""
    kind = f'\r\n type="{root}";' if root else ""
    return f'Content-Type: multipart/{subtype};{kind}\r\n boundary="{boundary}"\r\n\r\n'


def file_head(media_type: MediaType, filename: str, disposition: str | None, content_id: str | None = None) -> str:
    """Return the head of a file; ``disposition`` is ``attachment``, ``inline`` or None for a part that is no file.

    A name that ASCII cannot say is in ``filename*`` (RFC 2231 §4), and something like it in the older ``name`` of the
    content type. Not in ``filename`` beside ``filename*``: readers take the one that stands first, or call it a defect.
    """
    parameters = [f"{key}={value}" for key, value in media_type.parameters]
    is_plain = len(filename) <= _SECTION and _PLAIN_FILENAME.fullmatch(filename) is not None and "=?" not in filename
    if filename and (disposition is None or not is_plain):
        parameters.append(f'name="{filename if is_plain else _fallback(filename)}"')
    lines = [_with_parameters(f"Content-Type: {media_type.name}", parameters), "Content-Transfer-Encoding: base64"]
    if disposition:
        names = [f'filename="{filename}"'] if is_plain else _extended(filename)
        lines.append(_with_parameters(f"Content-Disposition: {disposition}", names))
    if content_id:
        lines.append(f"Content-ID: <{content_id}>")
    return "\r\n".join(lines) + "\r\n\r\n"


def _with_parameters(line: str, parameters: list[str]) -> str:
    return ";\r\n ".join((line, *parameters))


def _extended(filename: str) -> list[str]:
    """Return the parameter ``filename*`` (RFC 2231 §4), a long one in sections (§3) split between characters."""
    sections: list[str] = []
    section = ""
    for character in filename:
        octets = quote(character, safe="")
        if len(section) + len(octets) > _SECTION:
            sections.append(section)
            section = ""
        section += octets
    if section:
        sections.append(section)
    if len(sections) == 1:
        return [f"filename*={_CHARSET}{section}"]
    return [f"filename*{place}*={'' if place else _CHARSET}{each}" for place, each in enumerate(sections)]


def _fallback(filename: str) -> str:
    """Return what comes closest to a file name in ASCII, short, with its extension kept."""
    letters = _COMBINING.sub("", normalize("NFKD", filename))
    stem, _, extension = letters.rpartition(".")
    if not _EXTENSION.fullmatch(extension):
        stem, extension = letters, ""
    stem = _NOT_IN_FALLBACK.sub("_", stem)[:40].strip(" .") or "file"
    return f"{stem}.{extension}" if extension else stem
