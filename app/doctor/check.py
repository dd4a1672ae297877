"""One line of a diagnosis: what was tried, what came back, what that means, and what to do. Values only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

#: The checks by name, in the order in which they are told.
NAMES: Final = (
    "config",
    "senders",
    "dns",
    "tcp",
    "banner",
    "starttls",
    "certificate",
    "ehlo",
    "clock",
    "token",
    "auth",
    "budgets",
    "send",
)

_NAME: Final = re.compile(r"\b[A-Z][A-Z_]+\b")


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """See the module's promise. ``mailbox`` is None for what concerns the service as a whole; ``do`` may be empty."""

    name: str
    status: Status
    tried: str
    got: str
    means: str = ""
    do: str = ""
    mailbox: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the check as the interface tells it."""
        told: dict[str, Any] = {"name": self.name}
        if self.mailbox is not None:
            told["mailbox"] = self.mailbox
        return told | {
            "status": self.status.value,
            "tried": self.tried,
            "got": self.got,
            "means": self.means,
            "do": self.do,
        }


def skipped(name: str, mailbox: str | None, why: str, do: str = "") -> Check:
    """Return a check that was not made."""
    return Check(name, Status.SKIPPED, "not tried", why, "", do, mailbox)


def document(checks: Iterable[Check]) -> dict[str, Any]:
    """Return a diagnosis as the interface tells it."""
    return {"checks": [check.as_json() for check in checks]}


def filled(cure: str, names: Mapping[str, str | None]) -> str:
    """Return a cure of the catalogue with the names in it that are known here (``MAILBOX``, ``CLIENT_ID`` …)."""
    return _NAME.sub(lambda found: names.get(found[0]) or found[0], cure)


def counted(count: int, thing: str, things: str | None = None) -> str:
    """Return ``1 thing`` or ``2 things``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {things or thing + 's'}"
