"""Faults of a configuration: where, what is wrong, and what to do; all of them at once.

No fault repeats a value that stood in the configuration, except for names and addresses that another setting must
match, so that no secret can get into one. Pydantic's errors are translated here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

from app.settings import shape

Place = tuple[str | int, ...]
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NAMES_CURE: Final = "remove it; docs/configuration.md lists every setting"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault. ``place`` reads ``mailboxes.noreply.connection`` or ``environment: POSTROOM_X``."""

    place: str
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}\n    {self.cure}"


class ConfigurationFaults(Exception):
    """A configuration that cannot be used, with every fault found, sorted by place."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def write_place(place: Place) -> str:
    """Return a place as it is written: dots between keys, indices in brackets."""
    written = ""
    for part in place:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            key = part if _BARE.fullmatch(part) else repr(part)
            written += f".{key}" if written else key
    return written


def fault_at(place: Place, problem: str, cure: str) -> Fault:
    """Return a fault at a place of the file."""
    return Fault(write_place(place), problem, cure)


def why(error: Exception) -> str:
    """Return why a file cannot be read, in the system's words where it has any."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "that is not a path"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what to do about a name that does not exist."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else _NAMES_CURE


def translate(error: ValidationError, root: Any) -> list[Fault]:
    """Return the faults that pydantic found in the tree of ``root``."""
    return [_translated(details, root) for details in error.errors(include_url=False, include_input=False)]


def _translated(details: Mapping[str, Any], root: Any) -> Fault:
    place = shape.without_tags(root, tuple(part for part in details["loc"] if part != "[key]"))
    kind = details["type"]
    problem, cure = _words(kind, details.get("ctx", {}))
    if kind == "extra_forbidden":
        cure = suggestion(str(place[-1]), shape.keys_at(root, place[:-1]))
    elif kind in ("union_tag_not_found", "union_tag_invalid"):
        place = (*place, "method")
    return fault_at(place, problem, cure or _purpose(root, place))


def with_variables(faults: Iterable[Fault], variables: Mapping[Place, str]) -> list[Fault]:
    """Return the faults, each naming the variable that set the value in question, if one did."""
    by_place = {write_place(place): name for place, name in variables.items()}
    return [_with_variable(fault, by_place) for fault in faults]


def _with_variable(fault: Fault, by_place: Mapping[str, str]) -> Fault:
    around = [place for place in by_place if fault.place == place or fault.place.startswith((f"{place}.", f"{place}["))]
    if not around:
        return fault
    return replace(fault, problem=f"{fault.problem} (set by {by_place[max(around, key=len)]})")


def _purpose(root: Any, place: Place) -> str:
    description = shape.description_at(root, place)
    return f"state it: {description}" if description else _NAMES_CURE


def _words(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return problem and cure for a kind of pydantic error; an empty cure asks for the setting's description."""
    match kind:
        case "misfit":
            return context["problem"], context["cure"]
        case "missing":
            return "is missing", ""
        case "extra_forbidden":
            return "is not a setting", ""
        case "union_tag_not_found":
            return "is missing", "state how to sign in, such as password or client-secret"
        case "union_tag_invalid":
            return "is not a sign-in method", f"write one of {context['expected_tags']}"
        case "literal_error" | "enum":
            return "is not a value this setting can have", f"write one of {context['expected']}"
        case "int_type" | "int_parsing" | "int_from_float":
            return "is not a whole number", "write digits alone, without quotes"
        case "float_type" | "float_parsing" | "finite_number":
            return "is not a number", "write a number such as 0.9, without quotes"
        case "bool_type" | "bool_parsing":
            return "is neither true nor false", "write true or false, without quotes"
        case "string_type" | "path_type":
            return "is not a text", "write it in quotes"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "is not a table", "write a table: [name] with keys below, or { key = value }"
        case "tuple_type" | "list_type":
            return "is not a list", 'write a list, such as ["one", "two"]'
        case "greater_than_equal":
            return f"is below {context['ge']}", f"write {context['ge']} or more"
        case "less_than_equal":
            return f"is above {context['le']}", f"write {context['le']} or less"
        case "too_short" | "string_too_short":
            return "is empty", ""
        case "string_pattern_mismatch":
            return "does not have the right form", ""
        case _:
            return "is not valid", ""
