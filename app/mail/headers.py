"""Writes header fields that every reader understands as they were meant, and says which a caller may add.

A value can never become a second field or a second recipient: names are always quoted or encoded, lines are folded
only where that changes nothing, and structured fields are never turned into encoded words. Pure.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from app.mail.address import NamedAddress, quoted
from app.mail.characters import CONTROL, fault_in_line

VALUE_LIMIT: Final = 998  # octets
LINE_LIMIT: Final = 998  # octets without CRLF, RFC 5322 §2.1.1
_LINE_WISH: Final = 78  # octets without CRLF, RFC 5322 §2.1.1
_WORD_LINE: Final = 76  # a line with an encoded word, RFC 2047 §2
_WORD_FRAME: Final = len("=?utf-8?B??=")
_WORD_OCTETS: Final = 45  # what fits into an encoded word of 75: 12 for the frame, 60 for base64

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,76}")
# What the message itself settles, and the traces that only those who carry it may leave. Message-ID is ours because it
# is how a second copy of a message is recognised.
_OURS: Final = re.compile(
    "from|to|cc|bcc|subject|date|sender|reply-to|return-path|received|message-id|mime-version|dkim-signature"
    "|authentication-results|content-.*|arc-.*|resent-.*"
)

_PLAIN_NAME: Final = re.compile(r"[!-~]+(?: [!-~]+)*")
_BREAK: Final = re.compile(r"(?<=[^ ]) (?=[^ ])")
_MESSAGE_IDS: Final = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>(?: +<[!-;=?-~]+@[!-;=?-~]+>)*")
_URI: Final = r"<[A-Za-z][A-Za-z0-9+.-]*:[!-;=?-~]+>"
_URIS: Final = re.compile(rf"{_URI}(?: *, *{_URI})*")
_ANGLE: Final = re.compile(r"<[^>]*>")
_AUTO_SUBMITTED: Final = re.compile(r'[a-z][a-z0-9-]*(?: *; *[a-z0-9-]+=(?:[A-Za-z0-9._-]+|"[ !#-\[\]-~]*"))*', re.I)
ONE_CLICK: Final = "List-Unsubscribe=One-Click"


def _ids(value: str) -> Sequence[str] | None:
    return _ANGLE.findall(value) if _MESSAGE_IDS.fullmatch(value) else None


def _uris(value: str) -> Sequence[str] | None:
    if not _URIS.fullmatch(value):
        return None
    found = _ANGLE.findall(value)
    return [*(f"{each}," for each in found[:-1]), found[-1]]


def _one_of(*words: str) -> Callable[[str], Sequence[str] | None]:
    return lambda value: [value] if value.lower() in words else None


def _auto(value: str) -> Sequence[str] | None:
    return _BREAK.split(value) if _AUTO_SUBMITTED.fullmatch(value) else None


def _ascii(value: str) -> Sequence[str] | None:
    return _BREAK.split(value) if value.isascii() else None


# Fields with a grammar: how to take the value apart where it may be folded (None: malformed), and what to write.
_Grammar = tuple[Callable[[str], Sequence[str] | None], str]
_IDS: Final[_Grammar] = (_ids, "must be message ids in angle brackets, separated by spaces")
_URLS: Final[_Grammar] = (_uris, "must be URIs in angle brackets, separated by commas; ASCII only")
_OTHER: Final[_Grammar] = (_ascii, "must be ASCII: this field is for programs to read")
_GRAMMARS: Final[dict[str, _Grammar]] = {
    "in-reply-to": _IDS,  # RFC 5322 §3.6.4
    "references": _IDS,
    "list-unsubscribe": _URLS,  # RFC 2369 §3.2
    "list-unsubscribe-post": (_one_of(ONE_CLICK.lower()), f"must be {ONE_CLICK}"),  # RFC 8058 §3.1
    "auto-submitted": (_auto, "must be no, auto-generated, auto-replied or another word of RFC 3834"),
    "importance": (_one_of("low", "normal", "high"), "must be low, normal or high"),
    **dict.fromkeys(("list-help", "list-subscribe", "list-owner", "list-archive", "archived-at"), _URLS),
    **dict.fromkeys(("list-id", "list-post", "precedence", "priority", "x-priority", "sensitivity"), _OTHER),
    **dict.fromkeys(("disposition-notification-to", "return-receipt-to", "errors-to"), _OTHER),
    **dict.fromkeys(("feedback-id", "autocrypt", "thread-index", "expires", "reply-by"), _OTHER),
}


def check_header(name: str, value: str) -> str | None:
    """Return a sentence about why a caller may not add this field, None where nothing is wrong.

    The sentence never repeats the value. Fields that the message itself settles (``Message-ID`` and ``Date`` among
    them) are refused, and so are malformed values of the structured fields that are known here.
    """
    if not _NAME.fullmatch(name):
        return "must have a name of 1 to 76 ASCII letters, digits and dashes"
    lower = name.lower()
    if _OURS.fullmatch(lower):
        return "is written by the service and cannot be given"
    fault = fault_in_line(value)
    if fault:
        return "must not contain control characters" if fault == CONTROL else "must not contain half a surrogate pair"
    if len(value) > VALUE_LIMIT or len(value.encode()) > VALUE_LIMIT:
        return f"must have at most {VALUE_LIMIT} octets"
    grammar = _GRAMMARS.get(lower)
    if grammar is None:
        return None
    words = grammar[0](value.strip(" "))
    if words is None:
        return grammar[1]
    if any(len(word) >= LINE_LIMIT for word in words):
        return "has a part that is too long for a line"
    return None


def custom(name: str, value: str) -> str:
    """Return the lines of a field that ``check_header`` has let through."""
    grammar = _GRAMMARS.get(name.lower())
    if grammar is None:
        return unstructured(name, value)
    return _fold(name, grammar[0](value.strip(" ")) or ())


def unstructured(name: str, value: str) -> str:
    """Return the lines of a field of free text; ``value`` has no control characters.

    What ASCII can say is left as it is, folded at single spaces. What would be read otherwise (other characters,
    something like an encoded word, spaces at an end, a word too long for a line) is written in encoded words.
    """
    is_plain = value.isascii() and "=?" not in value and value[:1] != " " and value[-1:] != " "
    if is_plain and len(name) + 2 + len(value) <= _LINE_WISH:
        return f"{name}: {value}\r\n"
    if is_plain:
        words = _BREAK.split(value)
        if all(len(word) < LINE_LIMIT for word in words):
            return _fold(name, words)
    room = _WORD_LINE - len(name) - 2
    # A name so long that no word of use fits beside it stands alone on its line.
    head, room = (f"{name}: ", room) if room >= _WORD_FRAME + 8 else (f"{name}:\r\n ", _WORD_LINE - 1)
    return head + "\r\n ".join(encoded_words(value, room)) + "\r\n"


def _fold(name: str, words: Sequence[str]) -> str:
    """Put words into lines of 78 octets where possible, of 998 in any case, each with a space before it."""
    line = f"{name}:"
    # Nothing stays behind the name only where it must: older readers would count the fold to the value.
    lines = [] if len(line) + 1 + len(words[0]) <= LINE_LIMIT else [line]
    if lines:
        line = ""
    for place, word in enumerate(words):
        if place and len(line) + 1 + len(word) > _LINE_WISH:
            lines.append(line)
            line = ""
        line = f"{line} {word}"
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def encoded_words(text: str, room: int) -> list[str]:
    """Return a text as encoded words of at most 75 octets (RFC 2047 §2), split between characters.

    ``room``: octets that the line of the first word has left.
    """
    octets = text.encode()
    words = []
    start, most = 0, min((room - _WORD_FRAME) // 4 * 3, _WORD_OCTETS)
    while start < len(octets):
        end = start + most
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        words.append(f"=?utf-8?B?{b2a_base64(octets[start:end], newline=False).decode()}?=")
        start, most = end, _WORD_OCTETS
    return words


def mailboxes(name: str, addresses: Iterable[NamedAddress]) -> str:
    """Return the lines of an address field (RFC 5322 §3.4), folded between the addresses."""
    return f"{name}: " + ",\r\n ".join([_mailbox(each, len(name) + 2) for each in addresses]) + "\r\n"


def _mailbox(named: NamedAddress, used: int) -> str:
    """Return one address in angle brackets, behind its name in quotes or encoded words."""
    name, wire = named.name, named.address.wire
    if not name:
        return f"<{wire}>"
    if len(name) <= 64 and "=?" not in name and _PLAIN_NAME.fullmatch(name):
        return f'"{quoted(name)}" <{wire}>'
    words = encoded_words(name, _WORD_LINE - used)
    last = words[-1]
    # The line that the last word stands on; the first address of a field has the field's name before it.
    has_room = (used if len(words) == 1 else 1) + len(last) + len(wire) + 4 <= _WORD_LINE
    return "\r\n ".join(words) + (" " if has_room else "\r\n ") + f"<{wire}>"
