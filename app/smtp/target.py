"""Where mail goes: the next hop, how long it may take, what it must prove, and what it offers."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds by phase.

    ``connect``: from the first packet to the EHLO under TLS; ``command``: one flight of commands, one answer of a
    sign-in, the hand-over mark; ``data``: a write without any progress; ``final``: the reply to the dot, where 10
    minutes are due (RFC 5321 §4.5.3.2.6).
    """

    connect: float
    command: float
    data: float
    final: float


@dataclass(frozen=True, slots=True)
class Target:
    """The next hop. ``pipelining`` False: one command at a time even where more is offered."""

    host: str
    port: int
    tls: ssl.SSLContext
    pipelining: bool
    ehlo_name: str
    timeouts: Timeouts

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Features:
    """What the server offered under TLS.

    ``size``: the octets it takes, None where it named no limit (RFC 1870 §4); ``takes_size``: whether SIZE= may be
    said; ``mechanisms``: the ways to sign in, upper case.
    """

    size: int | None
    pipelining: bool
    smtputf8: bool
    takes_size: bool = True
    mechanisms: frozenset[str] = frozenset()


def features_of(lines: Sequence[str]) -> Features:
    """Read the lines of an EHLO answer; the first one is the server's name (RFC 5321 §4.1.1.1)."""
    offered: dict[str, list[str]] = {}
    for line in lines[1:]:
        keyword, *parameters = line.replace("=", " ").upper().split() or [""]  # "AUTH=LOGIN" is an old way to say it
        offered.setdefault(keyword, []).extend(parameters)
    sizes = offered.get("SIZE", [])
    size = int(sizes[0]) if sizes and sizes[0].isascii() and sizes[0].isdigit() else 0
    return Features(
        size=size or None,
        pipelining="PIPELINING" in offered,
        smtputf8="SMTPUTF8" in offered,
        takes_size="SIZE" in offered,
        mechanisms=frozenset(offered.get("AUTH", [])),
    )


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the context for STARTTLS: TLS 1.2 or later, chain and name verified.

    ``ca_file`` (PEM) is trusted besides the system's authorities. Raises OSError (``ssl.SSLError`` is one) when it
    cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
