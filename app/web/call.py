"""What is known of the request being answered: its name, its caller, its body, and in the end its outcome.

Made by the guard, kept in the ASGI scope, read by the routes and by the log line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

from app.web.body import Body
from app.web.keys import Found
from app.web.problems import Problem

_KEY: Final = "postroom.call"


@dataclass(slots=True)
class Call:
    """One request.

    ``is_admitted``: with a valid key, at its own door, from an allowed place. ``reason`` is the code of the problem it
    ended with, ``key_fault`` why its key was refused.
    """

    request_id: str
    began: float
    client: str
    headers: dict[bytes, bytes]
    body: Body
    found: Found | None = None
    is_admitted: bool = False
    route: str | None = None
    status: int | None = None
    reason: str | None = None
    key_id: str | None = None
    key_fault: str | None = None
    message_id: str | None = None

    def header(self, name: bytes) -> str | None:
        """Return a header's value by its lower-case name, as Latin-1."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def caller(self) -> Found:
        """Return whose request it is; the guard lets nobody through to a protected path without."""
        if self.found is None:
            raise Problem("unauthorized")
        return self.found

    def tenant(self, scope: str) -> str:
        """Return the tenant, if the key may do what ``scope`` names; else 403 ``insufficient-scope``."""
        found = self.caller()
        if found.tenant is None or not found.allows(scope):
            raise Problem("insufficient-scope", f"this needs a key with the scope {scope}", members={"scope": scope})
        return found.tenant


def keep_call(scope: Scope, call: Call) -> None:
    """Keep the call in its request's scope."""
    scope[_KEY] = call


def call_of(request: Request) -> Call:
    """Return the call of a request that came through the guard."""
    call: Call = request.scope[_KEY]
    return call
