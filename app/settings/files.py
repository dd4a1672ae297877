"""Looks at the files that the configuration names: whether each can be read, and whether certificates are such.

Only what is told at start is looked at; whoever uses a file reads it anew. No content is ever repeated.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.settings import shape
from app.settings.faults import Fault, Place, fault_at, why

_READ_CURE = "name a file that exists and that this user can read"


def check_files(values: dict[str, Any], root: Any) -> list[Fault]:
    """Return a fault for each file that is named and cannot be used; secrets' files were read before."""
    faults = []
    for place, path in _files(root, values, ()):
        problem = _unreadable(path)
        if problem is not None:
            faults.append(fault_at(place, problem, _READ_CURE))
        elif place[-1] == "ca_file" and not _holds_certificates(path):
            faults.append(fault_at(place, f"{path} holds no certificate", "name a file with certificates in PEM"))
    tls = values.get("server", {}).get("tls") if isinstance(values.get("server"), dict) else None
    if isinstance(tls, dict) and not any(fault.place.startswith("server.tls") for fault in faults):
        faults += _pair(tls.get("certificate_file"), tls.get("key_file"))
    return faults


def _files(annotation: Any, value: Any, place: Place) -> Iterator[tuple[Place, Path]]:
    if not isinstance(value, dict):
        return
    read_before = {f"{name}_file" for name in shape.twins(annotation)}
    # The key of a refresh token is made at its first use.
    skipped = read_before | ({"key_file"} if "refresh_token_file" in value else set())
    for key, below in value.items():
        inner = shape.step(annotation, key)
        if inner is None or key in skipped:
            continue
        if isinstance(below, str) and shape.kind_of(inner) == "file":
            yield (*place, key), Path(below)
        else:
            yield from _files(inner, below, (*place, key))


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {why(error)}"
    return f"{path} is empty" if is_empty else None


def _holds_certificates(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _pair(certificate: Any, key: Any) -> list[Fault]:
    if not isinstance(certificate, str) or not isinstance(key, str):
        return []
    try:
        # A key behind a password would ask at the terminal; no password makes it a fault instead.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):
        problem = "certificate_file and key_file do not belong together, or are not PEM"
        return [fault_at(("server", "tls"), problem, "name a certificate chain and its private key, without password")]
    return []
