"""A real service for stories about the HTTP contract: nothing is taken from it unless a story offers a next hop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from secrets import SystemRandom
from typing import Any

import trustme

from app.web import keys
from tests.support.processes import SENDER, ServiceProcess, free_port

LETTER: dict[str, Any] = {
    "from": f"Desk <{SENDER}>",
    "to": "ada@customer.test",
    "subject": "Invoice 8812",
    "text": "Please find the invoice attached.",
}


def waiting_service(folder: Path, **settings: Any) -> ServiceProcess:
    """Return a service whose next hop is never there, so that whatever it accepts waits."""
    return ServiceProcess(folder, free_port(), trustme.CA().cert_pem.bytes(), "secret", **settings)


def new_key(*, is_test: bool = False) -> tuple[str, str]:
    """Return a new key and the line for the file, as ``postroom keys new`` prints them."""
    key = keys.new_key(is_test, SystemRandom())
    return key.text, f'{{ id = "{key.id}", hash = "{key.hash}" }}'


def restricted(line: str, **restrictions: object) -> str:
    """Return the line of a key with restrictions: text as TOML writes it."""
    more = "".join(f", {name} = {value}" for name, value in restrictions.items())
    return line.replace(" }", f"{more} }}")


def bearer(key: str, **more: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}", **more}
