"""From where a request comes, and who counts as the same place."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.web.network import client_address, is_within, neighbourhood

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("192.0.2.1", None, TRUSTED, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", TRUSTED, "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", (), "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", TRUSTED, "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", TRUSTED, "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", TRUSTED, "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9 ,10.0.0.2,10.0.0.3", TRUSTED, "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7:4711", TRUSTED, "198.51.100.7"),
        ("::1", "[2001:db8::7]:4711", TRUSTED, "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7", TRUSTED, "2001:db8::7"),
        ("10.0.0.1", "::ffff:198.51.100.7", TRUSTED, "198.51.100.7"),
        ("10.0.0.1", "unknown", TRUSTED, "unknown"),
        ("10.0.0.1", "198.51.100.7, nonsense", TRUSTED, "unknown"),
        (None, "198.51.100.7", TRUSTED, "unknown"),
    ],
)
def test_the_chain_is_read_from_the_right_as_far_as_it_is_trusted(
    peer: str | None, forwarded: str | None, trusted: tuple, client: str
) -> None:
    """What an untrusted one wrote counts for nothing."""
    assert client_address(peer, forwarded, trusted) == client


@pytest.mark.parametrize(
    ("address", "networks", "inside"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("2001:db8::1", ["10.0.0.0/8", "2001:db8::/32"], True),
        ("unknown", ["0.0.0.0/0", "::/0"], False),
        ("10.1.2.3", [], False),
    ],
)
def test_an_address_lies_in_a_network_or_not(address: str, networks: list[str], inside: bool) -> None:
    """Who is unknown is in none."""
    assert is_within(address, [ip_network(each) for each in networks]) is inside


def test_one_subscriber_of_ipv6_is_one_neighbour() -> None:
    """He has 2^64 addresses to try from."""
    assert neighbourhood("2001:db8:0:1::1") == neighbourhood("2001:db8:0:1:ffff::9")
    assert neighbourhood("2001:db8:0:2::1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("192.0.2.1") == "192.0.2.1"
