"""Addresses: what a caller wrote, what goes over the wire, and what is compared.

Strict on purpose: only ``local-part@domain`` with a domain name of two labels or more. Whatever two readers might
understand differently (quoted local parts, address literals, lists, unquoted names with commas) is refused, so that an
address can never turn into another one on its way. No look-ups; no error repeats what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from app.mail.characters import CONTROL, SURROGATE, fault_in_line

LOCAL_PART_LIMIT: Final = 64  # octets, RFC 5321 §4.5.3.1.1
ADDRESS_LIMIT: Final = 254  # octets: a path of 256 less its brackets, RFC 5321 §4.5.3.1.3
NAME_LIMIT: Final = 998  # characters

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# Most addresses by far; what does not fit is looked at more closely, not refused.
_PLAIN: Final = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@((?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?)")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PAIR: Final = re.compile(r"\\(.)")
# What an unquoted name may not have, because readers disagree about it.
_AMBIGUOUS: Final = re.compile(r'[<>@",;\\]')
# RFC 5322 §3.2.3: a name with one of these is written in quotes.
_SPECIALS: Final = re.compile(r'[()<>\[\]:;@\\,."]')

_WORDS: Final = {
    "missing_at": "must have the form name@domain",
    "too_long": f"must have at most {ADDRESS_LIMIT} octets",
    "local_part_too_long": f"must have at most {LOCAL_PART_LIMIT} octets before the @",
    "name_too_long": f"must have a name of at most {NAME_LIMIT} characters",
    CONTROL: "must not contain control characters or line separators",
    SURROGATE: "must not contain half of a surrogate pair",
    "quoted_local_part": "must not have quotes before the @",
    "address_literal": "must have a domain name after the @, not an IP address",
    "display_form": "must be the address alone, without a name",
    "domain_needs_dot": "must have a domain with a dot after the @",
    "invalid": "is not an address that mail can be sent to",
    "one_address_each": "must be one address; give several as a list of strings",
    "name_needs_quotes": 'must have its name in double quotes, such as "Byron, Ada" <ada@example.com>',
    "empty": "must not be empty",
}


# The library's own switch: .test, .local and the like are domains of the inside, and mail goes there.
SPECIAL_USE_DOMAIN_NAMES.clear()


class AddressError(ValueError):
    """A text that is no address. ``code`` is stable; the text is a sentence that repeats nothing of the input."""

    def __init__(self, code: str) -> None:
        super().__init__(_WORDS[code])
        self.code = code


@dataclass(frozen=True, slots=True)
class Address:
    """An address without a name.

    ``given`` as it was written; ``key`` what is compared (both parts in lower case, domain as A-label, RFC 5890
    §2.3.2.1); ``wire`` what envelope and header carry (domain as A-label, local part in NFC, RFC 6532 §3.1);
    ``domain`` the A-label form alone.
    """

    given: str
    key: str
    wire: str
    domain: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part has characters outside ASCII (RFC 6531)."""
        return not self.wire.isascii()

    def __str__(self) -> str:
        return self.given


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """An address with the name that is shown for it, None where there is none."""

    address: Address
    name: str | None = None

    def __str__(self) -> str:
        if not self.name:
            return self.address.given
        if not _SPECIALS.search(self.name):
            return f"{self.name} <{self.address.given}>"
        return f'"{quoted(self.name)}" <{self.address.given}>'


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """One address, or with ``address`` None every address of ``domain``; written ``*@domain``."""

    domain: str
    address: Address | None = None

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of its domain."""
        return self.address is None

    def matches(self, address: Address) -> bool:
        """Whether an address falls under the pattern."""
        if self.address is None:
            return address.domain == self.domain
        return address.key == self.address.key

    def covers(self, other: AddressPattern) -> bool:
        """Whether every address of another pattern falls under this one."""
        if other.address is None:
            return self.address is None and other.domain == self.domain
        return self.matches(other.address)

    def __str__(self) -> str:
        return f"*@{self.domain}" if self.address is None else self.address.given


def quoted(name: str) -> str:
    """Return the inside of a quoted string (RFC 5322 §3.2.4)."""
    return name.replace("\\", "\\\\").replace('"', '\\"')


def parse_address(text: str) -> Address:
    """Return the address of ``local-part@domain``; raises ``AddressError``.

    Domains by IDNA 2008; special-use domains (``.test``, ``.local``, ``.internal``) are taken, names without a dot are
    not. A local part outside ASCII is taken and says so in ``needs_smtputf8``.
    """
    if len(text) <= ADDRESS_LIMIT:
        match = _PLAIN.fullmatch(text)
        # A label such as xn--… has rules of its own.
        if match and "--" not in match[2]:
            local, domain = match[1], match[2].lower()
            if len(local) > LOCAL_PART_LIMIT:
                raise AddressError("local_part_too_long")
            return Address(text, f"{local.lower()}@{domain}", f"{local}@{domain}", domain)
    return _parse_closely(text)


def _parse_closely(text: str) -> Address:
    """Judge what the plain form does not settle: domains in other scripts, and every kind of mistake."""
    _check_form(text)
    try:
        found = validate_email(text, check_deliverability=False, globally_deliverable=False)  # never DNS
    except EmailNotValidError:
        raise AddressError("invalid") from None
    domain = (found.ascii_domain or "").lower()
    local = normalize("NFC", text.rpartition("@")[0])
    if "." not in domain:
        raise AddressError("domain_needs_dot")
    if domain.rpartition(".")[2].isdigit():  # RFC 3696 §2: no top-level domain is all digits
        raise AddressError("address_literal")
    # Lower case, not casefold(): that would take straße and strasse for one mailbox and drop a recipient. The key is
    # parsed like any other address later, so it keeps the limits too.
    folded = normalize("NFC", local.lower())
    if max(len(local.encode()), len(folded.encode())) > LOCAL_PART_LIMIT:
        raise AddressError("local_part_too_long")
    wire, key = f"{local}@{domain}", f"{folded}@{domain}"
    if max(len(wire.encode()), len(key.encode())) > ADDRESS_LIMIT:
        raise AddressError("too_long")
    return Address(text, key, wire, domain)


def _check_form(text: str) -> None:
    """Name the mistakes that people make, each by its own code."""
    if not text:
        raise AddressError("empty")
    fault = fault_in_line(text)
    if fault:
        raise AddressError(fault)
    local, _, domain = text.rpartition("@")
    if "@" in text and re.search(r"@[^,;]*[,;].*@", text):
        raise AddressError("one_address_each")
    if text.endswith(">"):
        raise AddressError("display_form")
    if not local or not domain:
        raise AddressError("missing_at")
    if '"' in local:
        raise AddressError("quoted_local_part")
    if domain.startswith("["):
        raise AddressError("address_literal")
    if len(text) > ADDRESS_LIMIT:
        raise AddressError("too_long")


def parse_named(text: str) -> NamedAddress:
    """Return the address of ``a@b``, ``Name <a@b>`` or ``"B, Jr." <a@b>``; raises ``AddressError``.

    A list in one string is refused (``one_address_each``), and so is an unquoted name with a comma, an @ or another
    character that readers understand differently (``name_needs_quotes``).
    """
    text = text.strip(" ")
    if not text.endswith(">"):
        return NamedAddress(parse_address(text))
    fault = fault_in_line(text)
    if fault:
        raise AddressError(fault)
    head, _, rest = text.rpartition("<")
    name = _parse_name(head.strip(" "))
    if len(name) > NAME_LIMIT:
        raise AddressError("name_too_long")
    return NamedAddress(parse_address(rest[:-1]), name or None)


def _parse_name(head: str) -> str:
    match = _QUOTED.fullmatch(head)
    if match:
        return _PAIR.sub(r"\1", match[1]).strip(" ")
    if "@" in head and ("," in head or ";" in head):
        raise AddressError("one_address_each")
    if _AMBIGUOUS.search(head):
        raise AddressError("name_needs_quotes")
    return head


def parse_pattern(text: str) -> AddressPattern:
    """Return the pattern of an address or of ``*@domain``; raises ``AddressError``."""
    if text.startswith("*@"):
        # Any local part will do to have the domain checked like every other.
        return AddressPattern(parse_address("any" + text[1:]).domain)
    address = parse_address(text)
    return AddressPattern(address.domain, address)
