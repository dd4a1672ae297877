"""Decides what of a server's words may be shown: to a tenant, and in a log.

A tenant sees the words without diagnostics, without names of hosts and sessions, and without addresses that are not
its own. A log sees them without diagnostics, with every address masked, and never more than a bounded length. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

LOG_BOUND: Final = 500

# Exchange's internals, two kilobytes and more; a reply that was cut has lost the end mark.
_DIAGNOSTICS = re.compile(r"\s*\[BeginDiagnosticData\].*?(?:\[EndDiagnosticData\]|\Z)", re.DOTALL | re.IGNORECASE)

# "[Hostname=…]", "[InternalId=…, Hostname=…]"
_PAIRS = re.compile(r"\s*\[[A-Za-z]+=[^\[\]]*\]")
# "[host timestamp session]", "[host]", "[192.0.2.1]", and a time or a session id alone; no address literal
_PLACE = re.compile(
    r"(?<!@)\s*\[(?:[\w-]+(?:\.[\w-]+)+(?:\s[^\[\]]*)?|[0-9A-Fa-f]{16}|[0-9A-Fa-f:]*::?[0-9A-Fa-f:.]*|\d{4}-\d\d-\d\dT[^\[\]]*)\]"
)
# Servers of Exchange Online in every cloud, where they stand without brackets. Not part of an address: no "@" before.
_HOST = re.compile(
    r"(?<![\w@.-])(?:[\w-]+\.)+(?:outlook\.com|outlook\.office365\.com|office365\.us|outlook\.cn)(?![\w-])",
    re.IGNORECASE,
)

# What cannot stand in an unquoted local part (RFC 5321 §4.1.2). The look-behind lets a match begin at the edge of a
# word only, so that a long word without "@" is read once and not once for each of its letters.
_EDGE = r"\s<>()\[\]\",;:@\\"
_ADDRESS = re.compile(rf'(?<![^{_EDGE}])(?:"[^"]*"|[^{_EDGE}]+)(?:@(\[[^\]\s]*\]|[\w-]+(?:\.[\w-]+)*))+')


def without_diagnostics(text: str) -> str:
    """Return a reply's words without the diagnostic block of Exchange."""
    return _DIAGNOSTICS.sub("", text) if "[" in text else text


def for_tenant(text: str, own_addresses: Iterable[str] = ()) -> str:
    """Return a reply's words as a tenant may see them.

    ``own_addresses`` stay readable (compared without regard to case): the message's From and recipients, and its
    Message-ID without brackets where the server repeats it. Every other address becomes ``[address]``, every host of
    Exchange ``[host]``; bracketed hosts, times and session ids are left out.
    """
    own = {address.casefold() for address in own_addresses}
    text = without_diagnostics(text)
    text = _PAIRS.sub("", text)
    text = _PLACE.sub("", text)
    text = _ADDRESS.sub(lambda found: found[0] if found[0].casefold() in own else "[address]", text)
    return _HOST.sub("[host]", text).strip()


def for_log(text: str, bound: int = LOG_BOUND) -> str:
    """Return a reply's words for a log: one line, addresses as ``a***@example.com``, at most ``bound`` characters."""
    text = " ".join(_ADDRESS.sub(_masked, without_diagnostics(text)).split())
    return text if len(text) <= bound else text[: bound - 1] + "…"


def _masked(found: re.Match[str]) -> str:
    return found[0].lstrip('"')[:1] + "***@" + found[1]
