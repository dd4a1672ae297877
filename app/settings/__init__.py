"""The configuration: a file and the environment become values, or every fault at once.

``load`` is the only way to ``Settings``; whoever has one may rely on every check having passed. Only ``main``, ``cli``
and ``doctor`` read it; other rooms receive values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from app.mail.replies.operator import RowFaults
from app.settings.checks import check_across
from app.settings.faults import ConfigurationFaults, Fault, fault_at, suggestion, translate, why, with_variables
from app.settings.files import check_files
from app.settings.model import Settings
from app.settings.not_yet import not_supported
from app.settings.plans import MailboxPlan
from app.settings.sources import ground, overlay, read_file

__all__ = ["ConfigurationFaults", "Fault", "MailboxPlan", "Settings", "load"]


def load(config_path: Path, environ: Mapping[str, str], *, dotenv: bool = False) -> Settings:
    """Read the file, put the environment over it, check everything.

    ``dotenv`` (development) reads ``.env`` in the current folder too; the environment goes before it. Relative paths
    are seen from the configuration file. Raises ``ConfigurationFaults`` with every fault that can be judged.
    """
    tree = read_file(config_path)
    overlay(tree, Settings, {**_dotenv(tree.faults), **environ} if dotenv else environ)
    if not tree.is_read:
        raise ConfigurationFaults(with_variables(tree.faults, tree.variables))
    ground(tree, Settings, config_path.absolute().parent)
    faults = [
        *tree.faults,
        *not_supported(tree.values),
        *check_across(tree.values),
        *check_files(tree.values, Settings),
    ]
    known = {key: value for key, value in tree.values.items() if key in Settings.model_fields}
    faults += [
        fault_at((key,), "is not a setting", suggestion(key, Settings.model_fields))
        for key in tree.values.keys() - known.keys()
    ]
    settings = None
    try:
        settings = Settings(**known)
    except ValidationError as error:
        faults += translate(error, Settings)
    if settings is not None:
        try:
            settings.catalogue()
        except RowFaults as error:
            faults += [_fault_of_row(found) for found in error.faults]
    if settings is None or faults:
        raise ConfigurationFaults(with_variables(faults, tree.variables))
    return settings


def _fault_of_row(found: str) -> Fault:
    place, _, problem = found.partition(": ")
    return Fault(place, problem, "mend the row")


def _dotenv(faults: list[Fault]) -> dict[str, str]:
    """Return the variables of ``.env`` in the current folder, if there is one."""
    path = Path(".env")
    if not path.is_file():
        return {}
    try:
        source = DotEnvSettingsSource(Settings, env_file=path, env_file_encoding="utf-8", case_sensitive=True)
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault(str(path), f"cannot be read: {why(error)}", "mend it or remove it"))
        return {}
    return {name: value for name, value in source.env_vars.items() if value is not None}
