"""Operators' commands about what waits: list, cancel, hold, release, by filters; and the audit of all commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.ask import AsJson, Url, ask
from app.commands.common import DEFAULT_CONFIG, ConfigFile

queue_app = typer.Typer(help="See what is not done yet; cancel, hold and release it.", no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Messages of this tenant.")]
Sender = Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="Messages from this address.")]
Tag = Annotated[str | None, typer.Option("--tag", metavar="NAME:VALUE", help="Messages with this tag.")]
Status = Annotated[
    str | None, typer.Option("--status", metavar="WORD", help="scheduled, queued, deferred, sending or held.")
]
Before = Annotated[
    str | None, typer.Option("--before", metavar="INSTANT", help="Accepted before this (RFC 3339 with offset).")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Show at most so many, the newest.")]

_MOST_A_PAGE = 100


@queue_app.command("list")
def queue_list(
    tenant: Tenant = None,
    sender: Sender = None,
    tag: Tag = None,
    status: Status = None,
    before: Before = None,
    limit: Limit = 100,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the messages that are not done, newest first: whose they are and what they wait for."""
    filters = _filters(tenant, sender, tag, status, created_before=before)
    answer = _listed(config, url, "/v1/queue", filters, limit)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for message in answer["data"]:
        _show(message)


@queue_app.command("cancel")
def queue_cancel(
    tenant: Tenant = None,
    sender: Sender = None,
    tag: Tag = None,
    status: Status = None,
    before: Before = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
) -> None:
    """Cancel what is pending of the messages that fit. At least one filter is needed."""
    _change("cancel", _filters(tenant, sender, tag, status, before=before), config, url)


@queue_app.command("hold")
def queue_hold(
    tenant: Tenant = None,
    sender: Sender = None,
    tag: Tag = None,
    status: Status = None,
    before: Before = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
) -> None:
    """Hold the messages that fit and wait, until they are released. At least one filter is needed."""
    _change("hold", _filters(tenant, sender, tag, status, before=before), config, url)


@queue_app.command("release")
def queue_release(
    tenant: Tenant = None,
    sender: Sender = None,
    tag: Tag = None,
    status: Status = None,
    before: Before = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
) -> None:
    """Let the messages that fit and were held by hold wait as before. At least one filter is needed."""
    _change("release", _filters(tenant, sender, tag, status, before=before), config, url)


def audit(limit: Limit = 100, config: ConfigFile = DEFAULT_CONFIG, url: Url = None, as_json: AsJson = False) -> None:
    """Show what operators did, newest first."""
    answer = _listed(config, url, "/v1/audit", {}, limit)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for row in answer["data"]:
        typer.echo("  ".join(filter(None, (row["at"], row["who"], row["action"], row["target"], row["detail"]))))


def _filters(
    tenant: str | None, sender: str | None, tag: str | None, status: str | None, **before: str | None
) -> dict[str, str]:
    given = {"tenant": tenant, "from": sender, "tag": tag, "status": status, **before}
    return {name: value for name, value in given.items() if value is not None}


def _change(deed: str, filters: dict[str, str], config: Path, url: str | None) -> None:
    if not filters:
        raise typer.BadParameter("at least one of --tenant, --from, --tag, --status, --before is needed")
    answer = ask(config, url, "POST", f"/v1/queue/{deed}", body=filters)
    typer.echo(json.dumps(answer))


def _listed(config: Path, url: str | None, path: str, filters: dict[str, str], limit: int) -> dict[str, Any]:
    """Return up to ``limit`` entries of a list as one page, asked for page by page."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {**filters, "limit": str(min(limit - len(rows), _MOST_A_PAGE))}
        answer = ask(config, url, "GET", path, query=query | ({"after": cursor} if cursor else {}))
        rows += answer["data"]
        cursor = answer["next_cursor"]
        if cursor is None or len(rows) >= limit:
            return {"object": "list", "has_more": cursor is not None, "data": rows}


def _show(message: dict[str, Any]) -> None:
    waiting = message["waiting_for"]
    pending = sum(each["result"] == "pending" for each in message["recipients"])
    what = f"  {waiting['code']}: {waiting['text']}" if waiting else ""
    typer.echo(
        f"{message['id']}  {message['created_at']}  {message['tenant']}  {message['from']}  {message['status']}  "
        f"{pending}/{len(message['recipients'])} pending{what}"
    )
