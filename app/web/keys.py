"""API keys: how one is made, read, and matched with what the configuration holds of it.

``pr_live_<id>_<secret><checksum>``, or ``pr_test_…`` for a key that does everything but touch the wire. Id: 12
letters of base62, secret: 43 (256 bits), checksum: 6, the CRC-32 of everything before it, so that a mistyped key is
told from a wrong one. Only the SHA-256 of the whole key is kept: 256 random bits need neither a slow
hash nor a pepper. An admin key has the form of any other; what a key may do is said by the entry it matches.

Pure: time and chance are handed in. No secret is in any value returned, but for ``NewKey.text``.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from app.web.network import Network, is_within

SEND: Final = "messages:send"  # POST, retry, resolve
READ: Final = "messages:read"
CONTENT: Final = "messages:content"
CANCEL: Final = "messages:cancel"  # cancel, reschedule
HOOKS: Final = "hooks:send"
SCOPES: Final = (SEND, READ, CONTENT, CANCEL, HOOKS)
DEFAULT_SCOPES: Final = frozenset({SEND, READ, CANCEL})

ID_PATTERN: Final = r"[0-9A-Za-z]{12}"
HASH_PATTERN: Final = r"sha256:[0-9a-f]{64}"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LETTERS: Final = 12
_SECRET_LETTERS: Final = 43  # 62^43 > 2^256
_CHECK_LETTERS: Final = 6  # 62^6 > 2^32
_KEY: Final = re.compile(
    rf"pr_(live|test)_([0-9A-Za-z]{{{_ID_LETTERS}}})_[0-9A-Za-z]{{{_SECRET_LETTERS + _CHECK_LETTERS}}}"
)
_NO_HASH: Final = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: ``text`` is shown once, ``id`` and ``hash`` go into the configuration."""

    text: str = field(repr=False)
    id: str
    hash: str


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What the configuration holds of a key. Empty ``networks``: from anywhere. ``expires_at`` is aware."""

    id: str
    hash: str
    scopes: frozenset[str] = DEFAULT_SCOPES
    expires_at: datetime | None = None
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A valid key: whose it is (``tenant`` None: an operator's) and what it may do."""

    tenant: str | None
    key_id: str
    is_test: bool
    scopes: frozenset[str]
    networks: tuple[Network, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether this is an operator's key."""
        return self.tenant is None

    def allows(self, scope: str) -> bool:
        """Whether the key may do what ``scope`` names."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key is not valid: for the log, never for the caller. ``key_id`` None: the text names none."""

    reason: Literal["malformed", "unknown", "mismatch", "expired"]
    key_id: str | None = None


def new_key(test: bool, rng: random.Random) -> NewKey:
    """Make a key; ``rng`` must be unguessable (``secrets.SystemRandom``) outside of tests."""
    identity = _letters(rng, _ID_LETTERS)
    body = f"pr_{'test' if test else 'live'}_{identity}_{_letters(rng, _SECRET_LETTERS)}"
    text = body + _checksum(body)
    return NewKey(text, identity, _hash(text))


@dataclass(frozen=True, slots=True)
class _Known:
    """What a ring holds of a key: what it is checked by, and what it is found as."""

    hash: str
    expires_at: datetime | None
    live: Found
    test: Found


class KeyRing:
    """Every key that is known, by its id."""

    def __init__(self, owners: Iterable[tuple[str | None, Iterable[KeyEntry]]]) -> None:
        """Take ``(tenant, entries)`` pairs, tenant None for operators; raises ``ValueError`` for an id given twice."""
        known: dict[str, _Known] = {}
        for tenant, entries in owners:
            for entry in entries:
                if entry.id in known:
                    raise ValueError(f"two keys have the id {entry.id}")
                found = [Found(tenant, entry.id, test, entry.scopes, entry.networks) for test in (False, True)]
                known[entry.id] = _Known(entry.hash, entry.expires_at, *found)
        self._known: Mapping[str, _Known] = known

    def __repr__(self) -> str:
        return f"<KeyRing {len(self._known)} keys>"

    def find(self, text: str, now: datetime) -> Found | Refusal:
        """Return whose key ``text`` is, or why it is none; takes as long for an unknown id as for a wrong secret.

        The hash covers the checksum, so only of a text that matches nothing it is asked whether it is whole.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            return Refusal("malformed")
        known = self._known.get(match[2])
        is_match = hmac.compare_digest(_hash(text), known.hash if known else _NO_HASH)
        if known is None or not is_match:
            if not _is_whole(text):
                return Refusal("malformed")
            return Refusal("mismatch" if known else "unknown", match[2])
        if known.expires_at is not None and now >= known.expires_at:
            return Refusal("expired", match[2])
        return known.test if match[1] == "test" else known.live


def is_network_allowed(address: str, key_networks: Iterable[Network], tenant_networks: Iterable[Network]) -> bool:
    """Whether a client's address may use a key: both lists must allow it, an empty one allows everybody."""
    return all(not networks or is_within(address, networks) for networks in map(tuple, (key_networks, tenant_networks)))


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(_ALPHABET) for _ in range(count))


def _is_whole(text: str) -> bool:
    return _checksum(text[:-_CHECK_LETTERS]) == text[-_CHECK_LETTERS:]


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    letters = []
    for _ in range(_CHECK_LETTERS):
        value, rest = divmod(value, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(reversed(letters))


def _hash(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()
