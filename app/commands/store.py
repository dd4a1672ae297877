"""Operators' commands about the store: copy it, check it.

Both only read, on a connection of their own, and need no key: they work while the service runs and while none does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands.common import (
    DEFAULT_CONFIG,
    EXIT_CANNOT_START,
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    ConfigFile,
    fail,
    load_settings,
)

store_app = typer.Typer(help="Copy the store while it is in use; check that it is whole.", no_args_is_help=True)


@store_app.command("backup")
def store_backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes; a file there is replaced.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Write a copy of the store, of one moment and whole, while the service goes on."""
    from app.queue.contract import StoreError
    from app.queue.upkeep import copy

    store = _store_of(config)
    if target.is_dir() or not target.parent.is_dir():
        fail(f"{target} is not the name of a file in an existing folder", EXIT_CONFIGURATION)
    if target.resolve() in _files_of(store.resolve()):
        fail(f"{target} is the store itself, or a file that belongs to it", EXIT_CONFIGURATION)
    try:
        copy(store, target)
    except StoreError as error:
        fail(f"the store was not copied: {error}", EXIT_FAILED)
    typer.echo(f"{target}: {target.stat().st_size} octets")


@store_app.command("check")
def store_check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A copy to check. Default: the store of the configuration.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Check a store: its file, and that its rows agree. Prints ok, or what is wrong."""
    from app.queue.contract import StoreError
    from app.queue.upkeep import problems

    store = _existing(file) if file else _store_of(config)
    try:
        found = problems(store)
    except StoreError as error:
        fail(f"the store cannot be checked: {error}", EXIT_FAILED)
    for sentence in found:
        typer.echo(f"{store}: {sentence}")
    if found:
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"ok: {store}")


def _store_of(config: Path) -> Path:
    from app.settings.values import SqliteUrl

    url = load_settings(config).store.url
    if not isinstance(url, SqliteUrl):
        fail("a PostgreSQL database is copied and checked by its own tools (pg_dump, pg_amcheck)", EXIT_CONFIGURATION)
    return _existing(url.path)


def _existing(store: Path) -> Path:
    if not store.is_file():
        fail(f"there is no store at {store}", EXIT_CANNOT_START)
    return store


def _files_of(store: Path) -> tuple[Path, ...]:
    return (store, *(store.with_name(store.name + ending) for ending in ("-wal", "-shm", ".lock")))
