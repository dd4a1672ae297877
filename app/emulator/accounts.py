"""Who may sign in, and which From addresses each login has been granted.

Addresses compare as Exchange compares them: letter case does not matter, internationalised domains are equal in both
of their forms. A pattern is an address, ``*@domain``, or ``*`` for every address.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import idna

DEFAULT_ADDRESS = "emulator@emulator.postroom"
DEFAULT_PASSWORD = "emulator-password"  # noqa: S105 - the documented account of a test server


def canonical(address: str) -> str:
    """Return an address (or pattern) in the form in which two are compared."""
    local, at, domain = address.strip().rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        domain = domain.lower()
    return f"{local.casefold()}{at}{domain.lower()}"


def matches(pattern: str, address: str) -> bool:
    """Whether an address falls under a pattern; both in canonical form."""
    if pattern == "*":
        return True
    return address.endswith(pattern[1:]) if pattern.startswith("*@") else pattern == address


@dataclass(frozen=True, slots=True)
class Account:
    """A mailbox that may sign in.

    ``address`` may be ``*@domain``: every address of the domain is then a mailbox of its own. ``password`` None: only
    tokens. ``send_as`` are the patterns granted besides the own address.
    """

    address: str
    password: str | None = field(default=None, repr=False)
    send_as: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (self.address, *self.send_as):
            if pattern != "*" and not all(pattern.rpartition("@")):
                raise ValueError(f"an account's address and send_as look like name@domain or *@domain, not {pattern!r}")

    def owns(self, login: str) -> bool:
        """Whether ``login`` names this account."""
        return matches(canonical(self.address), canonical(login))

    def may_send_as(self, login: str, sender: str) -> bool:
        """Whether a session signed in as ``login`` may use ``sender`` as From."""
        wanted = canonical(sender)
        return wanted == canonical(login) or any(matches(canonical(pattern), wanted) for pattern in self.send_as)

    def knows(self, password: str) -> bool:
        """Whether the password is right."""
        return self.password is not None and hmac.compare_digest(self.password.encode(), password.encode())


# Sends as anybody, so that an app can be pointed at the emulator before anything is configured.
DEFAULT_ACCOUNT = Account(DEFAULT_ADDRESS, DEFAULT_PASSWORD, ("*",))


class Accounts:
    """The accounts by address; an exact address goes before a pattern."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._accounts: dict[str, Account] = {}
        for account in accounts:
            self.add(account)

    def add(self, account: Account) -> None:
        """Add an account, in place of an earlier one with the same address."""
        self._accounts[canonical(account.address)] = account

    def find(self, login: str) -> Account | None:
        """Return the account that ``login`` names."""
        exact = self._accounts.get(canonical(login))
        if exact is not None:
            return exact
        return next((account for account in self._accounts.values() if account.owns(login)), None)

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._accounts.values()))

    def __len__(self) -> int:
        return len(self._accounts)
