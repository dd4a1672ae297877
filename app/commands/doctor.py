"""Operators' commands that look after the way to Exchange: ``doctor`` examines, ``setup exchange`` writes the set-up.

The running service is asked, with an operator's key; where none runs, the examination takes the store's lock. Exit
codes: 0 all well or warnings only, 1 a check failed, 2 faults in the configuration.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from app.commands.ask import AsJson, Url, ask
from app.commands.common import (
    DEFAULT_CONFIG,
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    ConfigFile,
    fail,
    load_settings,
    print_faults,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from app.settings import Settings

# A cure with several steps numbers them.
_NUMBER = re.compile(r" (\(\d\)) ")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}

setup_app = typer.Typer(help="Write what other systems need to be set up.", no_args_is_help=True)


def doctor(
    mailbox: Annotated[
        str | None, typer.Argument(metavar="[MAILBOX]", help="The mailbox to examine. Default: each.")
    ] = None,
    send_to: Annotated[
        str | None,
        typer.Option(
            "--send-to", metavar="ADDRESS", help="Send one real message there as each sender; counts in the ledger."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Sign in on a parked mailbox, too.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Examine the way to Exchange step by step, and say what is wrong and what to do."""
    settings = _settings(config, as_json=as_json)
    if mailbox and url is None and mailbox not in settings.mailboxes:
        fail(f"there is no mailbox {mailbox}; there is {', '.join(settings.mailboxes) or 'none'}", EXIT_FAILED)
    body: dict[str, Any] = {"force": force} | ({"send_to": send_to} if send_to else {})
    checks = [] if settings.mailboxes else _without_mailboxes(settings)
    for name in [mailbox] if mailbox else settings.mailboxes:
        answer = ask(config, url, "POST", f"/v1/mailboxes/{quote(name, safe='')}/doctor", body=body)
        # What concerns the service as a whole is told with every mailbox.
        checks += [check for check in answer["checks"] if check not in checks]
    _show(checks, as_json=as_json)
    raise typer.Exit(EXIT_FAILED if any(check["status"] == "fail" for check in checks) else 0)


def _settings(config: Path, *, as_json: bool) -> Settings:
    """Return the settings; faults in them are told as a failed check or on stderr, and end the command with 2."""
    from app.settings import ConfigurationFaults, load

    try:
        return load(config, os.environ)
    except ConfigurationFaults as faults:
        if as_json:
            means = "Nothing else can be examined: the service does not start with it."
            told = {
                "name": "config",
                "status": "fail",
                "tried": "read the configuration and check every value",
                "got": str(faults),
                "means": means,
                "do": "Mend each place that is named.",
            }
            _show([told], as_json=True)
        else:
            print_faults(config, faults)
        raise typer.Exit(EXIT_CONFIGURATION) from None


def _without_mailboxes(settings: Settings) -> list[dict[str, Any]]:
    """Return what can be said of a configuration that has no mailbox to examine."""
    from app.doctor.estate import judge_config, judge_senders

    return [check.as_json() for check in (*judge_config(settings), *judge_senders(settings, ()))]


def _show(checks: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"checks": checks}, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(_table(checks))
    else:
        for line in plain(checks):
            typer.echo(line)


def plain(checks: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield a diagnosis as lines without colour or wrapping: one for each check, with more below where it is amiss."""
    for check in checks:
        place = f"{check['mailbox']} {check['name']}" if "mailbox" in check else check["name"]
        yield f"{check['status']:<8}{place}: {_headline(check)}"
        yield from (f"        {label}: {text}" for label, text in _details(check))


def _headline(check: dict[str, Any]) -> str:
    return check["got"] if check["status"] == "skipped" else f"{check['tried']}: {check['got']}"


def _details(check: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is told below a check: of one that is well its meaning only where something may be done."""
    if check["status"] == "ok" and not check["do"]:
        return []
    return [(label, check[label]) for label in ("means", "do") if check[label]]


def _table(checks: list[dict[str, Any]]) -> RenderableType:
    """Return a diagnosis as a table of three columns: how it ended, which check, and the words."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    table = Table.grid(padding=(0, 2))
    mailbox: object = ""
    for check in checks:
        if check.get("mailbox") != mailbox:
            mailbox = check.get("mailbox")
            table = Table.grid(padding=(0, 2))
            table.add_column(width=7)
            table.add_column(width=11, style="bold")
            table.add_column(overflow="fold")
            parts += [
                Text(f"mailbox {mailbox}" if mailbox else "service", "bold underline"),
                Padding(table, (0, 0, 1, 2)),
            ]
        words = Text(_headline(check))
        for label, text in _details(check):
            words.append(f"\n{label}: ", "bold" if label == "do" else "dim").append(_NUMBER.sub(r"\n  \1 ", text))
        table.add_row(Text(check["status"], _COLOURS[check["status"]]), check["name"], words)
    return Group(*parts)


@setup_app.command("exchange")
def setup_exchange(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Print the PowerShell that prepares Exchange Online for this configuration, and takes it back."""
    from app.doctor.exchange_setup import exchange_setup

    typer.echo(exchange_setup(load_settings(config)), nl=False)
