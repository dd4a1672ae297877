"""Operators' commands about senders: list, release."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from app.commands.ask import AsJson, Url, ask
from app.commands.common import DEFAULT_CONFIG, ConfigFile

sender_app = typer.Typer(help="See who sends; release a sender that is held.", no_args_is_help=True)


@sender_app.command("list")
def sender_list(config: ConfigFile = DEFAULT_CONFIG, url: Url = None, as_json: AsJson = False) -> None:
    """Show every tenant and From address that has sent or was refused, and why one is held."""
    answer = ask(config, url, "GET", "/v1/senders")
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for sender in answer["data"]:
        _show(sender)


@sender_app.command("release")
def sender_release(
    tenant: str,
    address: Annotated[str, typer.Argument(help="The From address.")],
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
) -> None:
    """Let a held or slowed sender start afresh; its mail goes, one message first."""
    _show(ask(config, url, "POST", "/v1/senders/release", body={"tenant": tenant, "from": address}))


def _show(sender: dict[str, Any]) -> None:
    refusals = ", ".join(f"{each['count']} {each['reason']}" for each in sender["refusals"])
    typer.echo(
        f"{sender['tenant']}  {sender['from']}  {sender['state']}  "
        f"last success {sender['last_success_at'] or '-'}  refusals {refusals or '-'}"
    )
    if held := sender["held"]:
        typer.echo(f"  held since {held['since']}: {held['reason']}")
        typer.echo(f"  cause: {held['cause']}\n  cure: {held['cure']}")
