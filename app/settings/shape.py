"""The shape of the configuration, read from its model: which settings exist, of which kind, below which tables.

Environment names, secret files, documentation and the words of faults all follow the model through these few
functions, so that a setting is declared once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.settings.values import Form

Kind = Literal["table", "named", "list", "integer", "number", "boolean", "file", "text"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a table: its annotation as written and pydantic's knowledge of it."""

    name: str
    annotation: Any
    info: FieldInfo

    @property
    def description(self) -> str:
        """What the setting means."""
        return self.info.description or ""


@lru_cache(maxsize=64)
def settings_of(model: type[BaseModel]) -> Mapping[str, Setting]:
    """Return the settings of a table by name, in the order of their declaration."""
    hints = get_type_hints(model, include_extras=True)
    return {name: Setting(name, hints[name], info) for name, info in model.model_fields.items()}


def members(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation may be, with unions opened, ``Annotated`` peeled off and None left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from members(each)
    elif annotation is not type(None):
        yield annotation


def tables(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Return the models an annotation may be: one for a table, several where a key decides which."""
    return tuple(each for each in members(annotation) if isinstance(each, type) and issubclass(each, BaseModel))


def named_value(annotation: Any) -> Any | None:
    """Return the annotation of the values of a table whose keys are names of the operator's choice."""
    return next((get_args(each)[1] for each in members(annotation) if get_origin(each) is dict), None)


def list_item(annotation: Any) -> Any | None:
    """Return the annotation of a list's items."""
    return next((get_args(each)[0] for each in members(annotation) if get_origin(each) is tuple), None)


def form_of(annotation: Any) -> Form | None:
    """Return how the values of an annotation are called and written, where it says so."""
    if get_origin(annotation) is Annotated:
        base, *marks = get_args(annotation)
        return next((mark for mark in reversed(marks) if isinstance(mark, Form)), None) or form_of(base)
    if get_origin(annotation) in (Union, UnionType):
        return next((form for form in map(form_of, get_args(annotation)) if form is not None), None)
    return None


def kind_of(annotation: Any) -> Kind:
    """Return how a value is written in a variable of the environment."""
    if tables(annotation):
        return "table"
    if named_value(annotation) is not None:
        return "named"
    if list_item(annotation) is not None:
        return "list"
    form = form_of(annotation)
    if form is not None and form.is_text:
        return "text"
    simple: dict[Any, Kind] = {bool: "boolean", int: "integer", float: "number", Path: "file"}
    return next((simple[each] for each in members(annotation) if each in simple), "text")


def settings_at(annotation: Any) -> dict[str, Setting]:
    """Return every setting of the table(s) an annotation may be."""
    found: dict[str, Setting] = {}
    for model in tables(annotation):
        for name, setting in settings_of(model).items():
            found.setdefault(name, setting)
    return found


def step(annotation: Any, key: str | int) -> Any | None:
    """Return the annotation below ``key``; None where there can be nothing."""
    if isinstance(key, int):
        return list_item(annotation)
    found = settings_at(annotation).get(key)
    return found.annotation if found is not None else named_value(annotation)


def walk(annotation: Any, place: tuple[str | int, ...]) -> Any | None:
    """Return the annotation at a place; None where there can be nothing."""
    for key in place:
        annotation = step(annotation, key) if annotation is not None else None
    return annotation


def keys_at(annotation: Any, place: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the names of the settings that can stand at a place."""
    return tuple(settings_at(walk(annotation, place)))


def description_at(annotation: Any, place: tuple[str | int, ...]) -> str:
    """Return the description of the setting at a place, or of the nearest one around it."""
    for end in range(len(place), 0, -1):
        found = settings_at(walk(annotation, place[: end - 1])).get(str(place[end - 1]))
        if found is not None:
            return found.description
    return ""


def without_tags(annotation: Any, place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return a place without the words that pydantic puts behind the place of a union: which member it tried."""
    kept: list[str | int] = []
    is_tag = False
    for key in place:
        if is_tag:
            is_tag = False
            continue
        kept.append(key)
        annotation = step(annotation, key)
        is_tag = len(tables(annotation)) > 1
    return tuple(kept)


def twins(annotation: Any) -> Iterator[str]:
    """Yield the settings of a table that may also be read from a file, by a setting with ``_file`` behind its name."""
    known = settings_at(annotation)
    yield from (name for name in known if f"{name}_file" in known)
