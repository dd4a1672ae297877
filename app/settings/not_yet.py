"""What the configuration has and the product has not yet: refused at start, never ignored. A row goes when it lands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from app.settings.faults import Fault, Place, fault_at


@dataclass(frozen=True, slots=True)
class Row:
    """A setting (``*`` stands for any name or index), the values that are alive, and what the others are called."""

    place: str
    is_alive: Callable[[Any], bool]
    what: str
    cure: str


def _only(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def _none_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value not in values


def _starts_otherwise(prefix: str) -> Callable[[Any], bool]:
    return lambda value: not (isinstance(value, str) and value.startswith(prefix))


def _never(_value: Any) -> bool:
    return False


_TOKEN_METHODS: Final = ("client-secret", "client-certificate", "federated-token", "refresh-token", "managed-identity")

NOT_YET: Final = (
    Row("server.trusted_proxies", _only([]), "trusted proxies", "remove it"),
    Row("server.redirect_all_to", _never, "sending everything to one address", "remove it"),
    Row("server.admin_keys.*.scopes", _never, "scopes of keys", "remove it"),
    Row("server.admin_keys.*.expires_at", _never, "keys that expire", "remove it"),
    Row("server.admin_keys.*.networks", _only([]), "networks of keys", "remove it"),
    Row("store.url", _starts_otherwise("postgres"), "PostgreSQL", 'use "sqlite:///…"'),
    Row("connections.*.profile", _none_of("hve", "acs"), "profiles hve and acs", "use exchange or plain"),
    Row("connections.*.auth.method", _none_of(*_TOKEN_METHODS), "sign-in methods other than password", "use password"),
    Row("mailboxes.*.address", _starts_otherwise("*"), "wildcard mailboxes", "name one mailbox"),
    Row("tenants.*.keys.*.scopes", _never, "scopes of keys", "remove it"),
    Row("tenants.*.keys.*.expires_at", _never, "keys that expire", "remove it"),
    Row("tenants.*.keys.*.networks", _only([]), "networks of keys", "remove it"),
    Row("tenants.*.recipients", _only([]), "allowlists of recipients", "remove it"),
    Row("tenants.*.share", _only(1), "shares", "remove it, or write 1"),
    Row("tenants.*.priorities", _only(["normal", "bulk"]), "priorities", "remove it"),
    Row("tenants.*.limits.*", _only(0), "limits of tenants", "remove it, or write 0"),
    Row("tenants.*.allowed_networks", _only([]), "networks of tenants", "remove it"),
    Row("replies", _only([]), "rows for the catalogue of replies", "remove them"),
)


def not_supported(values: dict[str, Any]) -> list[Fault]:
    """Return a fault for each stated value that is not alive yet."""
    return [
        fault_at(place, f"not supported yet: {row.what}", row.cure)
        for row in NOT_YET
        for place, value in _at(values, tuple(row.place.split(".")), ())
        if not row.is_alive(value)
    ]


def _at(value: Any, keys: tuple[str, ...], place: Place) -> Iterator[tuple[Place, Any]]:
    """Yield every stated value that the keys fit, with its place."""
    if not keys:
        yield place, value
        return
    first, rest = keys[0], keys[1:]
    if isinstance(value, dict):
        for key in value if first == "*" else (first,):
            if key in value:
                yield from _at(value[key], rest, (*place, key))
    elif isinstance(value, list) and first == "*":
        for index, item in enumerate(value):
            yield from _at(item, rest, (*place, index))


#: What a request may not ask for yet: 422, never ignored.
FIELDS_NOT_YET: Final = frozenset({"scheduled_at", "priority", "dry_run"})
