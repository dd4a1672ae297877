"""Names the files whose change makes the configuration another one: the file itself, secrets' files, extra trust.

Files that are read anew whenever they are needed (certificates, tokens) are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

_READ_ANEW = frozenset({"certificate_file", "key_file", "token_file", "refresh_token_file"})


def watched_files(config: Path, settings: BaseModel) -> tuple[Path, ...]:
    """Return every file to watch, the configuration file first."""
    return (config, *sorted(set(_files(settings))))


def _files(value: object) -> Iterator[Path]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            found = getattr(value, name)
            if isinstance(found, Path):
                if name not in _READ_ANEW:
                    yield found
            else:
                yield from _files(found)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _files(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _files(each)
