"""Operators' commands about mailboxes: list, park, resume."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import typer

from app.commands.ask import AsJson, Url, ask
from app.commands.common import DEFAULT_CONFIG, ConfigFile

mailbox_app = typer.Typer(help="See the mailboxes; let one stand still, let it work again.", no_args_is_help=True)


@mailbox_app.command("list")
def mailbox_list(config: ConfigFile = DEFAULT_CONFIG, url: Url = None, as_json: AsJson = False) -> None:
    """Show every mailbox: state, pace, and what is wrong."""
    answer = ask(config, url, "GET", "/v1/mailboxes")
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for mailbox in answer["data"]:
        _show(mailbox)


@mailbox_app.command("park")
def mailbox_park(name: str, config: ConfigFile = DEFAULT_CONFIG, url: Url = None) -> None:
    """Let a mailbox stand still until it is resumed; its mail waits."""
    _show(ask(config, url, "POST", f"/v1/mailboxes/{quote(name, safe='')}/park"))


@mailbox_app.command("resume")
def mailbox_resume(name: str, config: ConfigFile = DEFAULT_CONFIG, url: Url = None) -> None:
    """Let a mailbox work again, whatever it was parked for."""
    _show(ask(config, url, "POST", f"/v1/mailboxes/{quote(name, safe='')}/resume"))


def _show(mailbox: dict[str, Any]) -> None:
    minute, day, sessions = mailbox["minute"], mailbox["day"], mailbox["sessions"]
    typer.echo(
        f"{mailbox['name']}  {mailbox['address']}  {mailbox['state']}  "
        f"minute {minute['used']}/{minute['limit'] or '-'}  day {day['used']}/{day['limit'] or '-'}  "
        f"sessions {sessions['open']}/{sessions['limit']}"
    )
    if parked := mailbox["parked"]:
        typer.echo(f"  parked since {parked['since']}: {parked['reason']}")
        typer.echo(f"  cause: {parked['cause']}\n  cure: {parked['cure']}")
