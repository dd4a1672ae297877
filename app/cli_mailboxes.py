"""Operators' commands about mailboxes: list, park, resume.

They ask the running service on its management listener, with an operator's key; where none runs, they take the store's
lock and act on what is stored.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.cli import DEFAULT_CONFIG, EXIT_CANNOT_START, ConfigFile, load_settings

if TYPE_CHECKING:
    from app.settings import Settings

EXIT_FAILED = 1

Url = Annotated[str | None, typer.Option("--url", help="The management listener. Default: from the configuration.")]

mailbox_app = typer.Typer(help="See the mailboxes; let one stand still, let it work again.", no_args_is_help=True)


@mailbox_app.command("list")
def mailbox_list(
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Show every mailbox: state, pace, and what is wrong."""
    answer = _ask(config, url, "GET", "/v1/mailboxes")
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for mailbox in answer["data"]:
        _show(mailbox)


@mailbox_app.command("park")
def mailbox_park(name: str, config: ConfigFile = DEFAULT_CONFIG, url: Url = None) -> None:
    """Let a mailbox stand still until it is resumed; its mail waits."""
    _show(_ask(config, url, "POST", f"/v1/mailboxes/{name}/park"))


@mailbox_app.command("resume")
def mailbox_resume(name: str, config: ConfigFile = DEFAULT_CONFIG, url: Url = None) -> None:
    """Let a mailbox work again, whatever it was parked for."""
    _show(_ask(config, url, "POST", f"/v1/mailboxes/{name}/resume"))


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


def _ask(config: Path, url: str | None, method: str, path: str) -> dict[str, Any]:
    """Return the running service's answer, or that of the store at rest; exit with 1 where neither can."""
    import httpx

    settings = load_settings(config)
    base = url or f"http://{settings.server.management_listen}"
    try:
        key = _admin_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.request(method, base + path, headers=headers, timeout=10, trust_env=False)
    except httpx.ConnectError:
        if url is not None:
            _fail(f"no service answers at {url}", EXIT_FAILED)
        return _at_rest(settings, method, path)
    except httpx.HTTPError as error:
        _fail(f"the service at {base} did not answer: {type(error).__name__}", EXIT_FAILED)
    told: dict[str, Any] = answer.json()
    if answer.status_code != httpx.codes.OK:
        hint = (
            "; set POSTROOM_ADMIN_KEY or POSTROOM_ADMIN_KEY_FILE"
            if answer.status_code == httpx.codes.UNAUTHORIZED
            else ""
        )
        _fail(f"{told.get('title', answer.status_code)}: {told.get('detail', '')}{hint}", EXIT_FAILED)
    return told


def _admin_key() -> str:
    if key := os.environ.get("POSTROOM_ADMIN_KEY"):
        return key
    if file := os.environ.get("POSTROOM_ADMIN_KEY_FILE"):
        try:
            return Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            _fail(f"the admin key file {file} cannot be read", EXIT_FAILED)
    return ""


def _at_rest(settings: Settings, method: str, path: str) -> dict[str, Any]:
    """Do what is asked under the store's lock: no service runs."""
    from app.main import at_rest
    from app.queue.contract import StoreError

    name, _, action = path.removeprefix("/v1/mailboxes").strip("/").partition("/")
    if name and name not in settings.mailboxes:
        _fail(f"there is no mailbox {name}", EXIT_FAILED)
    try:
        return asyncio.run(at_rest(settings, name, action if method == "POST" else ""))
    except StoreError as error:
        what = "store locked" if error.reason == "store-locked" else "the store cannot be opened"
        _fail(f"{what}: {error}", EXIT_CANNOT_START)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"postroom: {text}", err=True)
    raise typer.Exit(code)
