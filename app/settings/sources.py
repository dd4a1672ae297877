"""Puts the tree of values together: the file, the environment over it, secrets from their files, paths made absolute.

A variable replaces the value of its key; a list or a table is written as JSON and replaced as a whole. A secret stated
in one form by the environment takes the place of the other form in the file; both forms in one place are a fault.
Everything that is wrong is collected, never raised.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.settings import shape
from app.settings.faults import Fault, Place, fault_at, suggestion, why
from app.settings.values import check_name, ground_store_url

PREFIX: Final = "POSTROOM_"
# Names that are known although they are no setting: read by the command line and by serve.
OTHER_NAMES: Final = frozenset(
    {"POSTROOM_CONFIG", "POSTROOM_ADMIN_KEY", "POSTROOM_ADMIN_KEY_FILE", "POSTROOM_FAILPOINTS"}
)
# Kubernetes tells every container about the services beside it; one whose name begins with postroom looks like ours.
_SERVICE_LINK: Final = re.compile(
    r"(?!.*__)POSTROOM_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)"
)
_SERVICE_PORT: Final = re.compile(r"(?!.*__)POSTROOM_(?:[A-Z0-9_]+_)?PORT")
_WHERE: Final = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")
_LARGEST_SECRET: Final = 64 * 1024
# Stands in for what could not be read, lest it be told to be missing as well; good as a secret and as a store's url.
_STAND_IN: Final = "sqlite:///unreadable"


@dataclass(slots=True)
class Tree:
    """The values as stated, the variable behind each place that the environment set, and the faults so far."""

    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    is_read: bool = True


def read_file(path: Path) -> Tree:
    """Read the configuration file; what cannot be read leaves an empty tree with its fault and ``is_read`` False."""
    place, faults = str(path), []
    try:
        return Tree(values=tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        cure = "name it by --config or POSTROOM_CONFIG, or write it; docs/configuration.md shows one"
        faults.append(Fault(place, "there is no such configuration file", cure))
    except UnicodeDecodeError:
        faults.append(Fault(place, "is not UTF-8", "save it as UTF-8"))
    except OSError as error:
        faults.append(Fault(place, f"cannot be read: {why(error)}", "give this user the right to read it"))
    except RecursionError:
        faults.append(Fault(place, "is nested too deeply", "write it flatter"))
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        where = _WHERE.search(text)
        position = f" at {where.group(1)}" if where else ""
        problem = f"is not TOML{position}: {_WHERE.sub('', text)}"
        faults.append(Fault(place, problem, "mend that line; texts stand in quotes, tables begin with [name]"))
    return Tree(faults=faults, is_read=False)


def overlay(tree: Tree, root: Any, environ: Mapping[str, str]) -> None:
    """Put the variables of the environment over the tree."""
    names = sorted(name for name in environ if name.startswith(PREFIX) and name not in OTHER_NAMES)
    # A table as a whole comes before the keys in it.
    for name in sorted(names, key=lambda name: len(_keys(name))):
        keys = _keys(name)
        annotation = _known(root, keys) if name == name.upper() else None
        if annotation is None:
            if not _is_service_link(name, environ[name]):
                tree.faults.append(_unknown(name, root))
            continue
        try:
            value = _parse(environ[name], shape.kind_of(annotation))
        except ValueError as error:
            cure = "lists and tables are written as JSON, the rest as it is"
            tree.faults.append(fault_at(keys, str(error), cure))
        else:
            _put(tree, root, keys, value)
        tree.variables[keys] = name


def _keys(name: str) -> tuple[str, ...]:
    # Of several underscores the last two divide, since a name may end with one but no setting begins with one.
    return tuple(re.split(r"__(?!_)", name.removeprefix(PREFIX).lower()))


def _known(root: Any, keys: tuple[str, ...]) -> Any | None:
    """Return the annotation of the setting that the keys name; None where there is none."""
    annotation = root
    for key in keys:
        if key not in shape.settings_at(annotation) and not _is_name(key):
            return None
        annotation = shape.step(annotation, key)
        if annotation is None:
            return None
    return annotation


def _is_name(key: str) -> bool:
    try:
        check_name(key)
    except ValueError:
        return False
    return True


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return _SERVICE_PORT.fullmatch(name) is not None and "://" in value


def _unknown(name: str, root: Any) -> Fault:
    """Return the fault of a variable that no setting knows, with the nearest one that exists."""
    keys = _keys(name)
    good: tuple[str, ...] = ()
    for key in keys:
        if _known(root, (*good, key)) is None:
            break
        good = (*good, key)
    known = [PREFIX + "__".join((*good, each)).upper() for each in shape.keys_at(root, good)]
    cure = suggestion(PREFIX + "__".join((*good, *keys[len(good) :][:1])).upper(), known)
    return Fault(f"environment: {name}", "names no setting", cure)


def _parse(text: str, kind: shape.Kind) -> Any:
    """Return the value a variable's text stands for; raises ``ValueError`` with the problem."""
    match kind:
        case "integer":
            if not re.fullmatch(r"\s*-?\d{1,18}\s*", text, re.ASCII):
                raise ValueError("is not a whole number")
            return int(text)
        case "number":
            return _number(text)
        case "boolean":
            if text.strip().lower() not in ("true", "false"):
                raise ValueError("is neither true nor false")
            return text.strip().lower() == "true"
        case "list" | "table" | "named":
            return _json(text, list if kind == "list" else dict)
        case _:
            return text


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is not a number")
    return number


def _json(text: str, wanted: type) -> Any:
    what = "a list" if wanted is list else "a table"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"is not {what} in JSON") from None
    if not isinstance(value, wanted):
        raise ValueError(f"is not {what} in JSON")  # noqa: TRY004 (one kind of error for one kind of fault)
    return value


def _put(tree: Tree, root: Any, keys: tuple[str, ...], value: Any) -> None:
    table = tree.values
    for key in keys[:-1]:
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            return  # the file has no table there, and that is told as such
        table = below
    table[keys[-1]] = value
    for name in shape.twins(shape.walk(root, keys[:-1])):
        pair = {name, f"{name}_file"}
        if keys[-1] in pair:
            (other,) = pair - {keys[-1]}
            if (*keys[:-1], other) not in tree.variables:
                table.pop(other, None)


def ground(tree: Tree, root: Any, folder: Path) -> None:
    """Make paths absolute, seen from ``folder``, and read secrets from their files."""
    _ground_below(tree, root, tree.values, (), folder)


def _ground_below(tree: Tree, annotation: Any, value: Any, place: Place, folder: Path) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _ground_below(tree, shape.list_item(annotation), item, (*place, index), folder)
        return
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        inner = shape.step(annotation, key)
        if inner is None:
            continue
        if isinstance(below, str) and shape.kind_of(inner) == "file":
            value[key] = str(folder / below)
        else:
            _ground_below(tree, inner, below, (*place, key), folder)
    for name in shape.twins(annotation):
        _read_twin(tree, value, name, place)
    if place == ("store",) and isinstance(value.get("url"), str):
        value["url"] = ground_store_url(value["url"], folder)


def _read_twin(tree: Tree, table: dict[str, Any], name: str, place: Place) -> None:
    path = table.get(f"{name}_file")
    if not isinstance(path, str):
        return
    if name in table:
        problem = f"is stated twice: as {name} and as {name}_file"
        tree.faults.append(fault_at((*place, name), problem, "keep one of the two"))
        return
    try:
        table[name] = read_secret(Path(path))
    except ValueError as error:
        table[name] = _STAND_IN
        cure = "name a file that this user can read and that holds the secret alone"
        tree.faults.append(fault_at((*place, f"{name}_file"), str(error), cure))


def read_secret(path: Path) -> str:
    """Return a secret from its file without the line break at its end; raises ``ValueError`` with what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_SECRET + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {why(error)}") from None
    if len(data) > _LARGEST_SECRET:
        raise ValueError(f"{path} is larger than 64 KiB")
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text
