"""How operators' commands are answered: by the running service, with an operator's key; where none runs, by the store.

Every command is one request of the management listener. At rest the same routes answer it under the store's lock, so a
command does and says the same either way.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.common import EXIT_CANNOT_START, EXIT_FAILED, fail, load_settings

if TYPE_CHECKING:
    from app.settings import Settings

Url = Annotated[str | None, typer.Option("--url", help="The management listener. Default: from the configuration.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]

# A change of a full queue takes minutes.
_PATIENCE_SECONDS = 600.0


def ask(
    config: Path,
    url: str | None,
    method: str,
    path: str,
    *,
    query: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the answer to an operator's request; exit with 1 where it is refused or nobody can give it.

    ``url``: the management listener, None for that of the configuration (and the store, where no service runs).
    """
    import httpx

    settings = load_settings(config)
    base = url or f"http://{settings.server.management_listen}"
    try:
        key = _admin_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(_PATIENCE_SECONDS, connect=10)
        answer = httpx.request(
            method, base + path, params=query, json=body, headers=headers, timeout=timeout, trust_env=False
        )
        status, told = answer.status_code, answer.json()
    except httpx.ConnectError:
        if url is not None:
            fail(f"no service answers at {url}", EXIT_FAILED)
        status, told = _at_rest(settings, method, path, query or {}, body)
    except (httpx.HTTPError, ValueError) as error:
        fail(f"the service at {base} did not answer: {type(error).__name__}", EXIT_FAILED)
    if status != httpx.codes.OK:
        fail(_refusal(status, told), EXIT_FAILED)
    answered: dict[str, Any] = told
    return answered


def _refusal(status: int, told: dict[str, Any]) -> str:
    """Return a sentence about an answer that is none: what it is, what to do, and which fields are meant."""
    words = f"{told.get('title', status)}: {told.get('detail', '')}"
    for fault in told.get("errors", ()):
        where = fault.get("pointer") or fault.get("parameter") or ""
        words += f"; {where.removeprefix('#').removeprefix('/')} {fault['detail']}".rstrip()
    return words + ("; set POSTROOM_ADMIN_KEY or POSTROOM_ADMIN_KEY_FILE" if status == 401 else "")


def _admin_key() -> str:
    if key := os.environ.get("POSTROOM_ADMIN_KEY"):
        return key
    if file := os.environ.get("POSTROOM_ADMIN_KEY_FILE"):
        try:
            return Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            fail(f"the admin key file {file} cannot be read", EXIT_FAILED)
    return ""


def _at_rest(settings: Settings, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
    from app.main import at_rest
    from app.queue.contract import StoreError

    try:
        return asyncio.run(at_rest(settings, method, path, query, body))
    except StoreError as error:
        what = "store locked" if error.reason == "store-locked" else "the store cannot be opened"
        fail(f"{what}: {error}", EXIT_CANNOT_START)
