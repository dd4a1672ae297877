"""What is written about the configuration: ``.env.example``, ``docs/configuration.md`` and a JSON Schema.

All three follow the model, so that a setting is described once. Pure; who calls compares or writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined, core_schema

from app.settings import shape
from app.settings.model import Settings
from app.settings.not_yet import NOT_YET
from app.settings.shape import Setting
from app.settings.sources import PREFIX
from app.settings.values import Form

# The names that stand in examples for those an operator chooses.
_EXAMPLES: Final = {"connections": "contoso", "mailboxes": "noreply", "tenants": "billing"}
_WORDS: Final = {"boolean": "true or false", "integer": "whole number", "number": "number", "table": "table"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting with its place, ready to be written about. ``default`` None: it must be stated."""

    place: tuple[str, ...]
    kind: str
    default: str | None
    description: str

    @property
    def variable(self) -> str:
        """The variable that sets it."""
        return PREFIX + "__".join(self.place).upper()


def entries(section: str) -> list[Entry]:
    """Return every setting of a section that has a value of its own, in the order of the model."""
    top = shape.settings_of(Settings)[section]
    value = shape.named_value(top.annotation)
    if value is not None:
        return list(_below(value, (section, _EXAMPLES[section])))
    if shape.list_item(top.annotation) is not None:
        return [_entry(top, (section,))]
    return list(_below(top.annotation, (section,)))


def _below(annotation: Any, place: tuple[str, ...]) -> Iterator[Entry]:
    for name, setting in shape.settings_at(annotation).items():
        here = (*place, name)
        if shape.kind_of(setting.annotation) == "table":
            yield from _below(setting.annotation, here)
        else:
            yield _narrowed(_entry(setting, here), annotation, name)


def _narrowed(entry: Entry, annotation: Any, name: str) -> Entry:
    """Return the entry with what a choice of tables means for it: which methods there are, which of them take it."""
    models = shape.tables(annotation)
    if len(models) == 1:
        return entry
    methods = {_kind(shape.settings_of(model)["method"].annotation): shape.settings_of(model) for model in models}
    if name == "method":
        return replace(entry, kind=" | ".join(methods))
    takers = [method for method, settings in methods.items() if name in settings]
    others = [method for method in methods if method not in takers]
    scope = f"For {', '.join(takers)}." if len(takers) <= len(others) else f"Not for {', '.join(others)}."
    return replace(entry, description=f"{entry.description} {scope}")


def _entry(setting: Setting, place: tuple[str, ...]) -> Entry:
    return Entry(place, _kind(setting.annotation), _default(setting), setting.description)


def _kind(annotation: Any) -> str:
    item = shape.list_item(annotation)
    if item is not None:
        return "list of tables" if shape.tables(item) else f"list: {_kind(item)}"
    form = shape.form_of(annotation)
    if form is not None:
        return form.name
    choices = [word for each in shape.members(annotation) for word in _choices(each)]
    return " | ".join(choices) or _WORDS.get(shape.kind_of(annotation), "text")


def _choices(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (each.value for each in annotation)


def _default(setting: Setting) -> str | None:
    value = setting.info.default
    if value is PydanticUndefined:
        return None
    return _written(value, _form(setting))


def _form(setting: Setting) -> Form | None:
    return shape.form_of(shape.list_item(setting.annotation) or setting.annotation)


def _written(value: Any, form: Form | None) -> str:
    """Return a value as it stands in the file, but for quotes around a single text."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return "[" + ", ".join(f'"{_written(each, form)}"' for each in value) + "]"
        case _:
            return form.write(value) if form is not None else str(value)


def env_example() -> str:
    """Return the text of ``.env.example``: every variable with its meaning, all commented out."""
    lines = [
        "# Every setting as a variable of the environment. Generated from the model by `postroom config env-example`.",
        "#",
        "# A variable overrides the value of postroom.toml; lists and tables are written as JSON. Instead of a secret,",
        "# name its file by the variable with _FILE. contoso, noreply and billing stand for names of your choice.",
        "# `postroom serve --dev` reads a .env in the current folder; otherwise only the process's environment counts.",
        "",
        "# The configuration file, for every command.",
        "# POSTROOM_CONFIG=postroom.toml",
        "# The operator's key, for commands that reach a running service.",
        "# POSTROOM_ADMIN_KEY=",
        "# POSTROOM_ADMIN_KEY_FILE=",
    ]
    for name, setting in shape.settings_of(Settings).items():
        lines += ["", f"# --- {name}: {setting.description}"]
        for entry in entries(name):
            note = entry.kind if entry.default is not None else f"{entry.kind}; must be set"
            lines += [f"# {entry.description} ({note})", f"# {entry.variable}={entry.default or ''}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Return the text of ``docs/configuration.md``."""
    parts = [_HEAD]
    for name, setting in shape.settings_of(Settings).items():
        parts.append(
            f"## {_title(name, setting)}\n\n{setting.description}\n\n{_rows(entries(name), 1 + _is_named(setting))}"
        )
        parts += [
            f"### An entry of `{'.'.join(place)}`\n\n{_rows(list(_below(model, ())), 0)}"
            for place, model in _lists(setting.annotation, (name,))
        ]
    if NOT_YET:
        parts.append(_NOT_YET + "".join(f"- `{row.place}`: {row.what}; {row.cure}\n" for row in NOT_YET))
    return "\n".join(parts)


def _is_named(setting: Setting) -> bool:
    return shape.named_value(setting.annotation) is not None


def _title(name: str, setting: Setting) -> str:
    if shape.list_item(setting.annotation) is not None:
        return f"[[{name}]]"
    return f"[{name}.NAME]" if _is_named(setting) else f"[{name}]"


def _lists(annotation: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Yield the lists of tables at a place and below, with the model of their entries."""
    item = shape.list_item(annotation)
    if item is not None:
        yield from ((place, model) for model in shape.tables(item))
        return
    value = shape.named_value(annotation)
    if value is not None:
        yield from _lists(value, (*place, "NAME"))
    for name, setting in shape.settings_at(annotation).items():
        yield from _lists(setting.annotation, (*place, name))


def _rows(found: list[Entry], skipped: int) -> str:
    """Return a table of settings; ``skipped`` keys of each place stand in the heading already. 0: no variables."""
    columns = ["setting", "kind", "default", "meaning", *(["variable"] if skipped else [])]
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for entry in found:
        default = "**required**" if entry.default is None else f"`{entry.default}`" if entry.default else "–"
        name = ".".join(entry.place[skipped:]) or entry.place[-1]
        cells = [f"`{name}`", entry.kind, default, entry.description, *([f"`{entry.variable}`"] if skipped else [])]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


class _WithoutDefaults(GenerateJsonSchema):
    """Pydantic's generator; it would write a duration or a size as no operator may write it."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave the default out; ``schema`` puts it in as it is written."""
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """Return a JSON Schema of the configuration file, for editors and reviewers."""
    found = Settings.model_json_schema(schema_generator=_WithoutDefaults)
    for model in _models(Settings):
        properties = found["$defs"][model.__name__]["properties"]
        for name, setting in shape.settings_of(model).items():
            if setting.info.default not in (None, PydanticUndefined):
                properties[name]["default"] = _jsonable(setting.info.default, _form(setting))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "Postroom configuration",
    }


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models of the tables below an annotation."""
    for model in shape.tables(annotation):
        for setting in shape.settings_of(model).values():
            inner = shape.named_value(setting.annotation) or shape.list_item(setting.annotation) or setting.annotation
            yield from shape.tables(inner)
            yield from _models(inner)


def _jsonable(value: Any, form: Form | None) -> Any:
    if isinstance(value, tuple):
        return [_jsonable(each, form) for each in value]
    is_plain = isinstance(value, str | bool | int | float) and not (form and form.is_text)
    return value if is_plain else _written(value, form)


_HEAD: Final = """\
# Configuration

Generated from the model (`app/settings`); change it there.

One file, `postroom.toml`, says everything an operator decides; the environment overrides it. Every command takes
`--config FILE`, else `POSTROOM_CONFIG`, else `./postroom.toml`. `postroom config check` names every fault at once, each
with its place and what to do; `postroom config schema` prints a JSON Schema for editors.

- **Variables.** `POSTROOM_` and the keys in capitals, with `__` between levels. A variable replaces the value of its
  key; a list or a table is written as JSON and replaced as a whole. A key of a table can be set alone. `contoso`,
  `noreply` and `billing` stand for names of your choice. An unknown `POSTROOM_…` name is a fault, but for
  `POSTROOM_CONFIG`, `POSTROOM_ADMIN_KEY`, `POSTROOM_ADMIN_KEY_FILE`, `POSTROOM_FAILPOINTS` (`serve --dev` only) and
  what Kubernetes tells about services whose name begins with postroom (`enableServiceLinks: false` ends that).
- **Secrets.** Each can be read from a file instead, by the setting (and the variable) with `_file` behind its name. A
  line break at the end is left out. Both forms in one place are a fault; a variable takes the place of either form in
  the file.
- **Durations** are a number and `s`, `m`, `h` or `d`: `"30s"`, `"24h"`. **Sizes** are a number and `KB`, `MB` or `GB`,
  powers of 1,024: `"15MB"`. **A limit of 0 means none.**
- **Files** with a relative path are looked for beside the configuration file.
- **Names** of tables: `a-z`, then `a-z`, `0-9` and single underscores.
- `serve --dev` also reads a `.env` in the current folder; the environment goes before it.

```toml
[store]
url = "sqlite:////var/lib/postroom/postroom.db"

[connections.contoso]
host = "smtp.office365.com"
auth = { method = "password", password_file = "/run/secrets/noreply" }

[mailboxes.noreply]
address = "noreply@contoso.com"
connection = "contoso"
send_as = ["billing@contoso.com"]        # what Exchange has granted to this mailbox

[tenants.billing]
keys = [{ id = "…", hash = "sha256:…" }] # the second line of: postroom keys new billing
senders = ["billing@contoso.com"]
```

Exit codes: 0 done, 1 the command failed, 2 faults in the configuration or the call, 3 cannot start.
"""

_NOT_YET: Final = """\
## Not supported yet

Known, and refused with any other value than shown, until the part they belong to is there:

"""
