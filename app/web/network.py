"""From which address a request comes, and whether that lies in an allowed network.

Only a trusted proxy's word about the address before it counts, and only as far as the chain of trusted ones goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address

UNKNOWN: Final = "unknown"
# What proxies write: an address, with a port behind it, and IPv6 in brackets or without.
_WITH_PORT: Final = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


@lru_cache(maxsize=4096)
def parse_address(text: str) -> IpAddress | None:
    """Return the address of a text such as ``10.0.0.1``, ``10.0.0.1:80`` or ``[::1]:80``; None where it is none."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match.group(1) or match.group(2)) if match else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed.version == net.version and parsed in net for net in networks)


def client_address(peer: str | None, forwarded: str | None, trusted: Sequence[Network]) -> str:
    """Return the address a request comes from.

    ``peer`` is the other end of the connection, ``forwarded`` the values of X-Forwarded-For joined by commas. It is
    read from right to left, as long as the address so far is a trusted proxy's. What a trusted proxy wrote and is no
    address makes the client ``unknown``, who is in no network.
    """
    address = peer or UNKNOWN
    if not forwarded or not trusted:
        return address
    for entry in reversed(forwarded.split(",")):
        if not is_within(address, trusted):
            return address
        parsed = parse_address(entry.strip())
        address = str(parsed) if parsed else UNKNOWN
    return address


def neighbourhood(address: str) -> str:
    """Return the unit by which failures are counted: an IPv4 address, or the /64 an IPv6 address is in.

    One subscriber has 2^64 addresses of IPv6 to try from.
    """
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
