"""Turns tables of a configuration file or a JSON body into accounts, apps, faults and limits. Strict.

Every function raises ValueError with a sentence that names what is wrong; no password or secret is repeated in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from app.emulator.accounts import Account
from app.emulator.catalogue import CATALOGUE
from app.emulator.entra import TokenAction, TokenFault
from app.emulator.exchange import Limits
from app.emulator.faults import Action, Fault, Phase
from app.emulator.tokens import App

Thing = TypeVar("Thing")

_COUNTS = (
    *("session", "attempt", "times", "octets", "aadsts", "status", "retry_after"),
    *("sessions", "messages_per_minute", "recipients_per_day", "recipients_per_message", "message_size"),
    "throttle_after",
)
_SECONDS = ("seconds", "life", "throttle_within", "throttle_for", "idle", "age", "auth_failure_delay")
_LISTS = ("send_as", "secrets", "certificates", "federated_tokens", "refresh_tokens", "mailboxes")


def account_of(table: Any) -> Account:
    """Read ``address``, ``password``, ``send_as``."""
    return _build(Account, table, "an account")


def app_of(table: Any) -> App:
    """Read an app by the names of ``App``'s fields."""
    return _build(App, table, "an app")


def limits_of(table: Any) -> Limits:
    """Read limits by the names of ``Limits``'s fields."""
    return _build(Limits, table, "limits")


def fault_of(table: Any) -> Fault | TokenFault:
    """Read a fault; ``named`` takes phase and reply from the catalogue, phase ``token`` is the token endpoint's."""
    values = dict(_table(table, "a fault"))
    if values.get("phase") == "token":
        del values["phase"]
        if "action" in values:
            values["action"] = _word(TokenAction, values["action"], "action")
        return _build(TokenFault, values, "a token fault")
    if "named" in values:
        name = values.pop("named")
        row = CATALOGUE.get(name) if isinstance(name, str) else None
        if row is None:
            raise ValueError(f"no reply is named {str(name)[:60]!r}")
        given = {"phase": row.phase, "reply": row.reply, "action": row.action, "seconds": row.seconds}
        values = {key: value for key, value in given.items() if value is not None} | values
    if "phase" in values:
        values["phase"] = _word(Phase, values["phase"], "phase")
    if "action" in values:
        values["action"] = _word(Action, values["action"], "action")
    return _build(Fault, values, "a fault")


def latency_of(table: Any) -> dict[Phase, float]:
    """Read seconds by phase."""
    latency = {}
    for name, seconds in _table(table, "latency").items():
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise ValueError(f"latency of {name} is a number of seconds from 0")
        latency[_word(Phase, name, "phase")] = float(seconds)
    return latency


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"{what} is a table of names and values")


def _build(kind: Callable[..., Thing], table: Any, what: str) -> Thing:
    table = _table(table, what)
    known = {each.name for each in fields(kind) if each.init}  # type: ignore[arg-type]
    unknown = sorted(str(name) for name in table if name not in known)
    if unknown:
        raise ValueError(f"{what} does not know {', '.join(unknown)}")
    try:
        return kind(**{name: _typed(name, value) for name, value in table.items()})
    except TypeError:
        # The constructor names what is missing in Python's terms.
        raise ValueError(f"{what} lacks a name that it needs") from None


def _typed(name: str, value: Any) -> Any:
    """Return a value of the type that its name asks for."""
    if name in _LISTS:
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{name} is a list of texts")
        return tuple(value)
    if name in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} is a whole number")
        return value
    if name in _SECONDS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is a number of seconds")
        return float(value)
    if name == "single_use":
        if not isinstance(value, bool):
            raise ValueError("single_use is true or false")
        return value
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} is a text")


Word = TypeVar("Word", Phase, Action, TokenAction)


def _word(words: type[Word], value: Any, what: str) -> Word:
    try:
        return words(value)
    except ValueError:
        raise ValueError(f"{what} is one of {', '.join(words)}, not {str(value)[:60]!r}") from None
