"""Operators' commands about tenants: list, pause, resume."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import typer

from app.commands.ask import AsJson, Url, ask
from app.commands.common import DEFAULT_CONFIG, ConfigFile

tenant_app = typer.Typer(help="See the tenants; let one's mail wait, let it go again.", no_args_is_help=True)


@tenant_app.command("list")
def tenant_list(config: ConfigFile = DEFAULT_CONFIG, url: Url = None, as_json: AsJson = False) -> None:
    """Show every tenant, and which are paused."""
    answer = ask(config, url, "GET", "/v1/tenants")
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for tenant in answer["data"]:
        _show(tenant)


@tenant_app.command("pause")
def tenant_pause(name: str, config: ConfigFile = DEFAULT_CONFIG, url: Url = None) -> None:
    """Let a tenant's mail wait until it is resumed; it is accepted all the same, and its lifetime goes on."""
    _show(ask(config, url, "POST", f"/v1/tenants/{quote(name, safe='')}/pause"))


@tenant_app.command("resume")
def tenant_resume(name: str, config: ConfigFile = DEFAULT_CONFIG, url: Url = None) -> None:
    """Let a tenant's mail go again."""
    _show(ask(config, url, "POST", f"/v1/tenants/{quote(name, safe='')}/resume"))


def _show(tenant: dict[str, Any]) -> None:
    paused = tenant["paused"]
    state = f"paused since {paused['since']} by {paused['by']}" if paused else "sending"
    typer.echo(f"{tenant['name']}  {state}")
