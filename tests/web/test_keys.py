"""API keys: their form, their checksum, and whose they are."""

from __future__ import annotations

import hashlib
import random
import re
import zlib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from app.web import keys
from app.web.keys import Found, KeyEntry, KeyRing, Refusal, is_network_allowed, new_key

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY = new_key(False, random.Random(1))
TEST_KEY = new_key(True, random.Random(2))
ADMIN_KEY = new_key(False, random.Random(3))
OTHER = new_key(False, random.Random(4))


def entry(key: keys.NewKey, **more: object) -> KeyEntry:
    return KeyEntry(key.id, key.hash, **more)  # type: ignore[arg-type]


def ring(**more: object) -> KeyRing:
    return KeyRing([(None, [entry(ADMIN_KEY)]), ("billing", [entry(KEY, **more), entry(TEST_KEY)])])


@pytest.mark.parametrize(("key", "kind"), [(KEY, "live"), (TEST_KEY, "test")])
def test_a_key_has_the_form_of_the_contract(key: keys.NewKey, kind: str) -> None:
    match = re.fullmatch(rf"pr_{kind}_([0-9A-Za-z]{{12}})_([0-9A-Za-z]{{43}})([0-9A-Za-z]{{6}})", key.text)
    assert match is not None
    assert match.group(1) == key.id
    assert key.hash == "sha256:" + hashlib.sha256(key.text.encode()).hexdigest()
    assert key.text not in repr(key)


def test_the_checksum_is_the_crc32_of_everything_before_it_in_base62() -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = 0
    for letter in KEY.text[-6:]:
        value = value * 62 + alphabet.index(letter)
    assert value == zlib.crc32(KEY.text[:-6].encode())


def test_two_keys_differ_in_id_and_secret() -> None:
    made = [new_key(False, random.SystemRandom()) for _ in range(50)]
    assert len({key.id for key in made}) == len({key.text[21:] for key in made}) == 50


@pytest.mark.parametrize("at", range(len(KEY.text)))
def test_one_wrong_letter_makes_it_malformed_and_not_a_wrong_key(at: int) -> None:
    wrong = "x" if KEY.text[at] != "x" else "y"
    assert ring().find(KEY.text[:at] + wrong + KEY.text[at + 1 :], NOW) == Refusal("malformed")


@pytest.mark.parametrize(
    "text",
    ["", "pr_live_", KEY.text[:-1], KEY.text + "0", KEY.text + "\n", " " + KEY.text, KEY.text.upper(), "ü" * 70],
)
def test_anything_else_is_no_key(text: str) -> None:
    assert ring().find(text, NOW) == Refusal("malformed")


def test_a_tenants_key_is_found_with_what_it_may_do() -> None:
    found = ring().find(KEY.text, NOW)
    assert found == Found("billing", KEY.id, False, keys.DEFAULT_SCOPES)
    assert isinstance(found, Found)
    assert not found.is_admin
    assert found.allows(keys.SEND)
    assert found.allows(keys.READ)
    assert found.allows(keys.CANCEL)
    assert not found.allows(keys.CONTENT)
    assert not found.allows(keys.HOOKS)


def test_a_test_key_is_known_by_its_own_text() -> None:
    found = ring().find(TEST_KEY.text, NOW)
    assert isinstance(found, Found)
    assert found.is_test


def test_an_operators_key_belongs_to_no_tenant() -> None:
    found = ring().find(ADMIN_KEY.text, NOW)
    assert isinstance(found, Found)
    assert found.is_admin


def test_an_unknown_id_is_refused() -> None:
    assert ring().find(OTHER.text, NOW) == Refusal("unknown", OTHER.id)


def test_a_known_id_with_another_secret_is_refused() -> None:
    holds_another = KeyRing([("billing", [KeyEntry(KEY.id, OTHER.hash)])])
    assert holds_another.find(KEY.text, NOW) == Refusal("mismatch", KEY.id)


def test_an_unknown_id_is_compared_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda _one, two: bool(compared.append(two)))
    ring().find(OTHER.text, NOW)
    ring().find(KEY.text, NOW)
    assert [len(each) for each in compared] == [71, 71]


@pytest.mark.parametrize(("seconds", "is_valid"), [(1, True), (0, False), (-1, False)])
def test_a_key_works_until_its_end(seconds: int, is_valid: bool) -> None:
    found = ring(expires_at=NOW + timedelta(seconds=seconds)).find(KEY.text, NOW)
    assert isinstance(found, Found) == is_valid
    assert is_valid or found == Refusal("expired", KEY.id)


def test_one_id_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two keys have the id"):
        KeyRing([("a", [entry(KEY)]), ("b", [entry(KEY)])])


def test_a_ring_shows_no_hash() -> None:
    assert repr(ring()) == "<KeyRing 3 keys>"


INNER, OUTER = (ip_network("10.0.0.0/8"),), (ip_network("10.1.0.0/16"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("address", "key_networks", "tenant_networks", "is_allowed"),
    [
        ("203.0.113.9", (), (), True),
        ("unknown", (), (), True),
        ("10.1.2.3", INNER, (), True),
        ("10.1.2.3", (), INNER, True),
        ("10.1.2.3", INNER, OUTER, True),
        ("10.2.2.3", INNER, OUTER, False),
        ("2001:db8::1", (), OUTER, True),
        ("2001:db8::1", INNER, OUTER, False),
        ("::ffff:10.1.2.3", INNER, OUTER, True),
        ("203.0.113.9", INNER, (), False),
        ("unknown", INNER, (), False),
    ],
)
def test_both_lists_of_networks_must_allow(
    address: str, key_networks: tuple, tenant_networks: tuple, is_allowed: bool
) -> None:
    assert is_network_allowed(address, key_networks, tenant_networks) == is_allowed
