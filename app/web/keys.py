"""API keys: how one is made, read, and matched with what the configuration holds of it.

``pr_live_<id>_<secret><checksum>``, or ``pr_test_…`` for a key that does everything but touch the wire. Id: 12
letters of base62, secret: 43 (256 bits), checksum: 6, the CRC-32 of everything before it, so that a mistyped key is
refused before anything is looked up. Only the SHA-256 of the whole key is kept: 256 random bits need neither a slow
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
class ParsedKey:
    """A text that has the form of a key and a right checksum; whether it is known is another question."""

    id: str
    is_test: bool
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


def parse_key(text: str) -> ParsedKey | None:
    """Return the parts of a key; None where the form or the checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(text[:-_CHECK_LETTERS]) != text[-_CHECK_LETTERS:]:
        return None
    return ParsedKey(match.group(2), match.group(1) == "test", _hash(text))


class KeyRing:
    """Every key that is known, by its id."""

    def __init__(self, owners: Iterable[tuple[str | None, Iterable[KeyEntry]]]) -> None:
        """Take ``(tenant, entries)`` pairs, tenant None for operators; raises ``ValueError`` for an id given twice."""
        known: dict[str, tuple[str | None, KeyEntry]] = {}
        for tenant, entries in owners:
            for entry in entries:
                if entry.id in known:
                    raise ValueError(f"two keys have the id {entry.id}")
                known[entry.id] = (tenant, entry)
        self._known: Mapping[str, tuple[str | None, KeyEntry]] = known

    def __repr__(self) -> str:
        return f"<KeyRing {len(self._known)} keys>"

    def find(self, text: str, now: datetime) -> Found | Refusal:
        """Return whose key ``text`` is, or why it is none; takes as long for an unknown id as for a known one."""
        parsed = parse_key(text)
        if parsed is None:
            return Refusal("malformed")
        tenant, entry = self._known.get(parsed.id, (None, None))
        is_match = hmac.compare_digest(parsed.hash, entry.hash if entry else _NO_HASH)
        if entry is None:
            return Refusal("unknown", parsed.id)
        if not is_match:
            return Refusal("mismatch", parsed.id)
        if entry.expires_at is not None and now >= entry.expires_at:
            return Refusal("expired", parsed.id)
        return Found(tenant, parsed.id, parsed.is_test, entry.scopes, entry.networks)


def is_network_allowed(address: str, key_networks: Iterable[Network], tenant_networks: Iterable[Network]) -> bool:
    """Whether a client's address may use a key: both lists must allow it, an empty one allows everybody."""
    return all(not networks or is_within(address, networks) for networks in map(tuple, (key_networks, tenant_networks)))


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(_ALPHABET) for _ in range(count))


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    letters = []
    for _ in range(_CHECK_LETTERS):
        value, rest = divmod(value, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(reversed(letters))


def _hash(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()
