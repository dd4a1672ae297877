"""A good configuration, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.settings import ConfigurationFaults, Settings, load

SECRET = "correct-horse-battery-staple"  # never to be seen in any output
HASH = "sha256:" + "0f" * 32
KEY = f'{{ id = "4Tn2kQ9xWb7d", hash = "{HASH}" }}'

GOOD = f"""\
[store]
url = "sqlite:///postroom.db"

[connections.contoso]
host = "127.0.0.1"
port = 2525
auth = {{ method = "password", password = "{SECRET}" }}

[mailboxes.noreply]
address = "noreply@contoso.test"
connection = "contoso"
send_as = ["billing@contoso.test", "*@invoices.contoso.test"]

[tenants.billing]
keys = [{KEY}]
senders = ["billing@contoso.test", "*@contoso.test"]
"""


def load_text(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration from its text."""
    path = folder / "postroom.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


def faults_of(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the problems of a configuration by place; of several at one place the last one."""
    error = None
    try:
        load_text(folder, text, environ)
    except ConfigurationFaults as raised:
        error = raised
    if error is None:
        return {}
    assert SECRET not in str(error)
    assert error.faults == sorted(error.faults)
    assert all(fault.cure for fault in error.faults)
    return {fault.place: fault.problem for fault in error.faults}


def changed(old: str, new: str, text: str = GOOD) -> str:
    """Return a configuration with one piece replaced; the piece must be there."""
    assert old in text
    return text.replace(old, new)
