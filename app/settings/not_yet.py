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


NOT_YET: Final = (
    Row("store.url", _starts_otherwise("postgres"), "PostgreSQL", 'use "sqlite:///…"'),
    Row("connections.*.profile", _none_of("hve", "acs"), "profiles hve and acs", "use exchange or plain"),
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
