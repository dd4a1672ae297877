"""What the commands share: where the configuration is, how faults are printed, and the exit codes.

0 done or drained, 1 the command failed, 2 faults in the configuration or the call, 3 cannot start.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from app.settings import ConfigurationFaults, Settings

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_CANNOT_START = 3

DEFAULT_CONFIG = Path("postroom.toml")
ConfigFile = Annotated[
    Path, typer.Option("--config", envvar="POSTROOM_CONFIG", metavar="FILE", help="The configuration file.")
]


def load_settings(path: Path, *, dotenv: bool = False) -> Settings:
    """Return the settings, or print every fault on stderr and exit with 2."""
    from app.settings import ConfigurationFaults, load

    try:
        return load(path, os.environ, dotenv=dotenv)
    except ConfigurationFaults as error:
        print_faults(path, error)
        raise typer.Exit(EXIT_CONFIGURATION) from None


def print_faults(path: Path, error: ConfigurationFaults) -> None:
    """Print faults on stderr: place, problem and what to do."""
    count = "1 fault" if len(error.faults) == 1 else f"{len(error.faults)} faults"
    typer.echo(f"{path}: {count}\n\n{error}", err=True)


def fail(text: str, code: int) -> NoReturn:
    """Print a sentence on stderr and exit with ``code``."""
    typer.echo(f"postroom: {text}", err=True)
    raise typer.Exit(code)
