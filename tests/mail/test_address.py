"""What is an address and what is not; what is compared and what goes over the wire."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mail.address import AddressError, AddressPattern, parse_address, parse_named, parse_pattern

SOME = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("given_text", "key", "wire", "domain"),
    [
        ("ada@example.com", "ada@example.com", "ada@example.com", "example.com"),
        ("Ada.B+tag@Example.COM", "ada.b+tag@example.com", "Ada.B+tag@example.com", "example.com"),
        ("o'neil=x/y@example.com", "o'neil=x/y@example.com", "o'neil=x/y@example.com", "example.com"),
        ("a@bücher.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a@BÜCHER.Example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example", "a@xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("a@例え。テスト", "a@xn--r8jz45g.xn--zckzah", "a@xn--r8jz45g.xn--zckzah", "xn--r8jz45g.xn--zckzah"),
        ("Jörg@example.com", "jörg@example.com", "Jörg@example.com", "example.com"),
        ("Jo\u0308rg@example.com", "jörg@example.com", "Jörg@example.com", "example.com"),
        ("app@host.local", "app@host.local", "app@host.local", "host.local"),
        ("app@host.internal", "app@host.internal", "app@host.internal", "host.internal"),
        ("jörg@host.test", "jörg@host.test", "jörg@host.test", "host.test"),
    ],
)
def test_an_address_has_a_key_and_a_wire_form(given_text: str, key: str, wire: str, domain: str) -> None:
    address = parse_address(given_text)
    assert (address.given, address.key, address.wire, address.domain) == (given_text, key, wire, domain)
    assert address.needs_smtputf8 is not wire.isascii()
    assert str(address) == given_text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        ("ada", "missing_at"),
        ("@example.com", "missing_at"),
        ("ada@", "missing_at"),
        ("a@localhost", "domain_needs_dot"),
        ("a@bücher", "domain_needs_dot"),
        ("a@[192.0.2.1]", "address_literal"),
        ("a@192.0.2.1", "address_literal"),
        ('"a b"@example.com', "quoted_local_part"),
        ('"ab"@example.com', "quoted_local_part"),
        ("<a@example.com>", "display_form"),
        ("Ada <a@example.com>", "display_form"),
        ("a@example.com, b@example.com", "one_address_each"),
        ("a@example.com;b@example.com", "one_address_each"),
        ("a@b@example.com", "invalid"),
        ("a b@example.com", "invalid"),
        (" a@example.com", "invalid"),
        ("a@example.com ", "invalid"),
        ("a..b@example.com", "invalid"),
        (".a@example.com", "invalid"),
        ("a.@example.com", "invalid"),
        ("a@example..com", "invalid"),
        ("a@example.com.", "invalid"),
        ("a@-example.com", "invalid"),
        ("a@ex_ample.com", "invalid"),
        ("a@xn--zz--.example", "invalid"),
        ("a@ab--cd.example", "invalid"),
        ("a(comment)@example.com", "invalid"),
        ("a\u200b@example.com", "invalid"),
        ("a\u202eb@example.com", "invalid"),
        ("a@example.com\n", "control_character"),
        ("a@example.com\r\nBcc: x@example.com", "control_character"),
        ("a\x00@example.com", "control_character"),
        ("a\x85@example.com", "control_character"),
        ("a@exam\u2028ple.com", "control_character"),
        ("a\ud800@example.com", "lone_surrogate"),
        ("a" * 65 + "@example.com", "local_part_too_long"),
        ("ö" * 33 + "@example.com", "local_part_too_long"),
        ("a@" + ".".join(["b" * 60] * 4) + ".example.com", "too_long"),
        ("a@" + "b" * 64 + ".example", "invalid"),
        ("a@" + "b" * 100_000, "too_long"),
    ],
)
def test_what_is_no_address_is_refused_with_a_code(text: str, code: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert caught.value.code == code
    assert str(caught.value)
    assert len(text) < 2 or text not in str(caught.value)


def test_a_local_part_of_64_octets_and_an_address_of_254_are_taken() -> None:
    local = "a" * 64
    domain = ".".join(["b" * 61, "c" * 61, "d" * 60, "e"])
    assert len(f"{local}@{domain}.f") <= 254
    assert parse_address(f"{local}@{domain}.f").wire == f"{local}@{domain}.f"
    with pytest.raises(AddressError, match="254"):
        parse_address(f"{local}@{domain}" + ".g" * 3)


def test_letters_that_only_look_alike_stay_two_mailboxes() -> None:
    assert parse_address("straße@example.com").key != parse_address("strasse@example.com").key


@SOME
@given(st.text(max_size=30), st.sampled_from(["example.com", "Bücher.Example", "x.test"]))
def test_a_key_is_an_address_with_itself_as_key(local: str, domain: str) -> None:
    try:
        address = parse_address(f"{local}@{domain}")
    except AddressError:
        return
    again = parse_address(address.key)
    assert (again.key, again.wire, again.domain) == (address.key, address.key, address.domain)
    assert parse_address(address.wire).key == address.key


@SOME
@given(st.text(max_size=60) | st.text('ab.@<>",;: []\\()-', max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for parse in (parse_address, parse_named, parse_pattern):
        try:
            parse(text)
        except AddressError as error:
            found = error
        else:
            continue
        assert found.code
        assert len(str(found)) < 100


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ada@example.com", None, "ada@example.com"),
        ("  ada@example.com ", None, "ada@example.com"),
        ("<ada@example.com>", None, "ada@example.com"),
        ('"" <ada@example.com>', None, "ada@example.com"),
        ("Ada Byron <ada@example.com>", "Ada Byron", "ada@example.com"),
        ("Ada<ada@example.com>", "Ada", "ada@example.com"),
        ('"B, Jr." <b@example.com>', "B, Jr.", "b@example.com"),
        (r'"a \"b\" \\ c" <b@example.com>', 'a "b" \\ c', "b@example.com"),
        ('"evil@example.net, x" <b@example.com>', "evil@example.net, x", "b@example.com"),
        ("Acme Inc. (Sales) [7]: x <b@example.com>", "Acme Inc. (Sales) [7]: x", "b@example.com"),
        ("Jörg Müller <jörg@bücher.example>", "Jörg Müller", "jörg@bücher.example"),
        ("=?utf-8?Q?a?= <b@example.com>", "=?utf-8?Q?a?=", "b@example.com"),
    ],
)
def test_a_named_address_is_read(text: str, name: str | None, address: str) -> None:
    found = parse_named(text)
    assert (found.name, found.address.given) == (name, address)
    assert parse_named(str(found)) == found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("B, Jr. <b@example.com>", "name_needs_quotes"),
        ("evil@example.net <b@example.com>", "name_needs_quotes"),
        ('"A" B <b@example.com>', "name_needs_quotes"),
        ('A "B <b@example.com>', "name_needs_quotes"),
        ('"A\\" <b@example.com>', "name_needs_quotes"),
        ("A <B <b@example.com>", "name_needs_quotes"),
        ("a@example.com, b@example.com", "one_address_each"),
        ("A <a@example.com>, B <b@example.com>", "one_address_each"),
        ("A <a@example.com>; b@example.com", "one_address_each"),
        ('"A" <a@example.com>, "B" <b@example.com>', "one_address_each"),
        ("a@example.com, B <b@example.com>", "one_address_each"),
        ("A <a@example.com>\r\nBcc: <b@example.com>", "control_character"),
        ("A\x1b <a@example.com>", "control_character"),
        ("A\u2029 <a@example.com>", "control_character"),
        ("A\udc00 <a@example.com>", "lone_surrogate"),
        ("a" * 999 + " <a@example.com>", "name_too_long"),
        ("A <a@localhost>", "domain_needs_dot"),
        ("A <>", "empty"),
        ("A <a@example.com", "invalid"),
        ("Team: a@example.com;", "invalid"),
        ("", "empty"),
    ],
)
def test_what_readers_may_understand_differently_is_refused(text: str, code: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_named(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("pattern", "address", "matches"),
    [
        ("ada@example.com", "ADA@Example.com", True),
        ("ada@example.com", "bea@example.com", False),
        ("*@example.com", "ADA@Example.com", True),
        ("*@example.com", "ada@sub.example.com", False),
        ("*@example.com", "ada@badexample.com", False),
        ("*@bücher.example", "ada@xn--bcher-kva.example", True),
    ],
)
def test_a_pattern_matches_an_address(pattern: str, address: str, matches: bool) -> None:
    assert parse_pattern(pattern).matches(parse_address(address)) is matches


@pytest.mark.parametrize(
    ("wider", "narrower", "covers"),
    [
        ("*@example.com", "*@Example.com", True),
        ("*@example.com", "ada@example.com", True),
        ("ada@example.com", "Ada@example.com", True),
        ("ada@example.com", "*@example.com", False),
        ("*@example.com", "*@sub.example.com", False),
    ],
)
def test_a_pattern_covers_another(wider: str, narrower: str, covers: bool) -> None:
    assert parse_pattern(wider).covers(parse_pattern(narrower)) is covers


def test_a_pattern_is_a_value_and_is_written_as_it_is_read() -> None:
    assert parse_pattern("*@Example.com") == AddressPattern("example.com")
    assert [str(parse_pattern(text)) for text in ("*@example.com", "Ada@example.com")] == [
        "*@example.com",
        "Ada@example.com",
    ]
    assert parse_pattern("*@example.com").is_wildcard
    assert parse_pattern("ada@example.com").address == parse_address("ada@example.com")


@pytest.mark.parametrize(
    "text", ["*", "*@", "*@*", "*@localhost", "*@*.example.com", "**@example..com", "@example.com"]
)
def test_other_stars_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_pattern(text)
