"""Runs the emulator as a program: reads its file, listens, says where, and ends in order on SIGINT or SIGTERM.

The file is TOML: ``[[accounts]]``, ``[[apps]]``, ``[[faults]]``, ``[limits]``, ``[latency]``, ``names``; everything in
it is optional. Without accounts there is the default one, which may send as anybody.
"""

from __future__ import annotations

import asyncio
import signal
import tomllib
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from app.emulator.accounts import DEFAULT_ADDRESS, DEFAULT_PASSWORD
from app.emulator.loading import account_of, app_of, fault_of, latency_of, limits_of
from app.emulator.server import Emulator

_LISTS = {"accounts": account_of, "apps": app_of, "faults": fault_of}
_TABLES = {"limits": limits_of, "latency": latency_of}


def run(*, host: str, port: int, http_port: int, ca_out: Path | None, config: Path | None) -> None:
    """Run until SIGINT or SIGTERM.

    ``ca_out`` is written with the authority's certificate before the addresses are printed. Raises ValueError when the
    file is missing or wrong, with every fault in it, and OSError when a port is taken.
    """
    settings = read_config(config) if config is not None else {}
    names = (*settings.pop("names", ()), *_names_of(host))
    emulator = Emulator(host=host, port=port, http_port=http_port, names=names, **settings)
    asyncio.run(_serve(emulator, ca_out, has_default_account="accounts" not in settings))


def read_config(path: Path) -> dict[str, Any]:
    """Return the arguments of ``Emulator`` that the file gives; raises ValueError with every fault in it."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    settings: dict[str, Any] = {}
    faults = [f"{name} is not known" for name in document if name not in (*_LISTS, *_TABLES, "names")]
    for name, read in _LISTS.items():
        tables = document.get(name, [])
        if not isinstance(tables, list):
            faults.append(f"{name} is a list: write [[{name}]]")
            continue
        for position, table in enumerate(tables, 1):
            try:
                settings.setdefault(name, []).append(read(table))
            except ValueError as problem:
                faults.append(f"{name} {position}: {problem}")
    for name, read_table in _TABLES.items():
        if name in document:
            try:
                settings[name] = read_table(document[name])
            except ValueError as problem:
                faults.append(f"{name}: {problem}")
    names = document.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        faults.append("names is a list of host names")
    settings["names"] = names
    if faults:
        raise ValueError("\n".join(f"{path}: {fault}" for fault in faults))
    return settings


def _names_of(host: str) -> tuple[str, ...]:
    """Return the name that clients will call this host by, where it can be told from where it listens."""
    with suppress(ValueError):
        return () if ip_address(host).is_unspecified else (host,)
    return (host,)


async def _serve(emulator: Emulator, ca_out: Path | None, *, has_default_account: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with emulator:
        if ca_out is not None:
            await asyncio.to_thread(ca_out.write_bytes, emulator.ca_pem)
        print(f"SMTP   {emulator.host}:{emulator.port}   (STARTTLS; AUTH LOGIN, XOAUTH2)")
        print(f"HTTP   {emulator.http_url}   (/messages, /faults, /counters, /ca.pem)")
        print(f"Token  {emulator.http_url}/DIRECTORY/oauth2/v2.0/token, {emulator.https_url}/…")
        if has_default_account:
            print(f"Login  {DEFAULT_ADDRESS} with password {DEFAULT_PASSWORD}; it may send as anybody")
        print("Ctrl-C ends it.", flush=True)
        await stopping.wait()
