"""Tells on what machine the figures were made: they mean nothing on any other."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw
import psutil

from bench.children import can_pin

_SYNCS = 200


def describe(folder: Path) -> dict[str, Any]:
    """Return what is known of this machine; ``folder`` is where the stores will lie."""
    names = ("fastapi", "uvicorn", "uvloop", "pydantic", "aiosmtplib", "apsw")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "pinned": can_pin(),
        "fsync_ms": round(_sync(folder) * 1000, 3),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "node": _node(),
        "packages": {name: version(name) for name in names},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _node() -> str | None:
    if shutil.which("node") is None:
        return None
    return subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()


def _sync(folder: Path) -> float:
    """Return the median seconds of overwriting 4 KiB and syncing them."""
    with tempfile.TemporaryFile(dir=folder) as file:
        seconds = []
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.seek(0)
            file.write(os.urandom(4096))
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[_SYNCS // 2]
