"""A service at rest in front of an emulator, and its doctor on call: what an examination needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from app.building.doctor import DOCTOR, on_call
from app.building.service import Service, build
from app.doctor.check import Check
from app.kit.clock import SystemClock
from app.settings import load

SENDER = "noreply@contoso.test"
PASSWORD = "correct-horse-battery"
KEY = '{ id = "4Tn2kQ9xWb7d", hash = "sha256:' + "0f" * 32 + '" }'


def configuration(
    folder: Path,
    port: int,
    *,
    ca: bytes | None = None,
    host: str = "127.0.0.1",
    auth: str = f'{{ method = "password", password = "{PASSWORD}" }}',
    send_as: Sequence[str] = (),
    senders: Sequence[str] = (SENDER,),
    connect: str = "5s",
) -> Path:
    """Write a configuration with one mailbox; return its path."""
    trust = ""
    if ca is not None:
        (folder / "ca.pem").write_bytes(ca)
        trust = 'ca_file = "ca.pem"'
    path = folder / "postroom.toml"
    path.write_text(f"""
[server]
admin_keys = [{KEY}]
[store]
url = "sqlite:///postroom.db"
disk_floor = "0"
[delivery]
timeouts = {{ connect = "{connect}" }}
[connections.contoso]
host = "{host}"
port = {port}
profile = "plain"
{trust}
auth = {auth}
[mailboxes.noreply]
address = "{SENDER}"
connection = "contoso"
send_as = {list(send_as)!r}
[tenants.billing]
senders = {list(senders)!r}
""")
    return path


@asynccontextmanager
async def at_rest(path: Path) -> AsyncIterator[Service]:
    """Build a service of a configuration with its doctor on call, as the command line does where none runs."""
    service = await build(load(path, {}), clock=SystemClock())
    try:
        sources = tuple(service.workshop.tokens.values())
        for source in sources:
            await source.inspect()
        async with on_call(service.engine, sources, DOCTOR):
            yield service
    finally:
        await service.store.close()


def by_name(checks: Sequence[Check]) -> dict[str, Check]:
    """Return the checks of the mailbox by name, the last of each."""
    return {check.name: check for check in checks}


def statuses(checks: Sequence[Check]) -> dict[str, str]:
    """Return how each check ended, by name."""
    return {check.name: check.status.value for check in checks}
