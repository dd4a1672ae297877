"""What is measured: the product as it is started by anybody, and its neighbours.

The product gets a configuration of its own and keys from its own command, and runs as ``postroom serve`` with its log
in a file. Where a case says nothing, everything is at its default.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.children import MEASURED, ROOT, Usage, end, spawn

POSTROOM = str(Path(sys.executable).with_name("postroom"))
SENDER = "billing@contoso.com"
PATH = "/v1/messages"
_PATIENCE = 90.0
_LINES = "The quick brown fox jumps over the lazy dog, and then it signs the invoice below.\n"


def small_body() -> str:
    """Return the JSON of a small mail, 4 KB of text; the place of the number is the recipient's name."""
    text = (_LINES * 60)[:4096]
    return json.dumps({"from": SENDER, "to": "@@@@@@@@@@@@@fabrikam.com", "subject": "An invoice", "text": text})


def large_body() -> str:
    """Return the JSON of a mail with one attachment; its content is put in by the load."""
    attachment = {"filename": "scan.pdf", "content_type": "application/pdf", "content": "$attachment"}
    mail = {"from": SENDER, "to": "@@@@@@@@@@@@@fabrikam.com", "subject": "A scan", "text": "Attached."}
    return json.dumps({**mail, "attachments": [attachment]})


class Subject:
    """A running process under measurement. ``path`` and ``key`` say how to POST to it."""

    path = "/send"
    key = ""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def usage(self) -> Usage:
        """What it uses."""
        assert self._process is not None
        return Usage(self._process.pid)

    def target(self) -> dict[str, Any]:
        """Return how the load reaches it with the small mail."""
        return {"port": self.port, "paths": [self.path], "key": self.key, "body": small_body()}

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Neighbour(Subject):
    """One of ``bench/neighbours``, by its name."""

    def __init__(self, name: str, smtp_port: int, ca: Path, log: Path) -> None:
        super().__init__(_free_port())
        environment = {"BENCH_PORT": str(self.port), "BENCH_SMTP_PORT": str(smtp_port), "BENCH_CA": str(ca)}
        command = [sys.executable, "-m", f"bench.neighbours.{name}"]
        if name == "nodemailer":
            command = [shutil.which("node") or "node", str(ROOT / "bench" / "neighbours" / name / "server.js")]
        with log.open("wb") as out:
            self._process = spawn(command, MEASURED, environment, stdout=out, stderr=out)
        _await_port(self.port, self._process, log)


def install_nodemailer() -> str | None:
    """Install what the Node.js neighbour needs; return why it cannot be measured, if it cannot."""
    folder = ROOT / "bench" / "neighbours" / "nodemailer"
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node.js is not installed"
    if not (folder / "node_modules").is_dir():
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error"], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            return f"npm ci failed: {done.stderr.strip()[-200:]}"
    return None


@dataclass
class Settings:
    """What a case decides about the product. Tables are TOML text, put in as they are."""

    smtp_port: int
    ca: Path
    profile: str = "plain"
    store: dict[str, str] = field(default_factory=lambda: {"queue_limit": "0"})
    delivery: dict[str, str] = field(default_factory=dict)


class Product(Subject):
    """``postroom serve`` over a store in ``folder``; it can be killed and started again over the same store."""

    path = PATH

    def __init__(self, folder: Path, settings: Settings, *, start: bool = True) -> None:
        port, self._management = _free_port(), _free_port()
        super().__init__(port)
        folder.mkdir(parents=True, exist_ok=True)
        self.store = folder / "postroom.db"
        self._config = folder / "postroom.toml"
        self._log = folder / "service.log"
        self.key, line = _new_key("bench")
        _admin, admin_line = _new_key("--admin")
        self._config.write_text(_configuration(port, self._management, settings, line, admin_line))
        if start:
            self.start()

    def start(self) -> float:
        """Start it and return in how many seconds it was ready."""
        began = time.monotonic()
        with self._log.open("ab") as out:
            self._process = spawn([POSTROOM, "serve", "--config", str(self._config)], MEASURED, stdout=out, stderr=out)
        _await_ready(f"http://127.0.0.1:{self.port}/readyz", self._process, self._log)
        return time.monotonic() - began

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def post(self, letter: dict[str, Any]) -> None:
        """Send one message with the tenant's key; it must be taken."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}{self.path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(letter).encode(), headers), timeout=30
        ) as answer:
            answer.read()

    def get(self, path: str) -> dict[str, Any]:
        """Return what a GET with the tenant's key answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.key}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
            return told


def _configuration(port: int, management: int, settings: Settings, key: str, admin_key: str) -> str:
    def table(values: dict[str, str]) -> str:
        return "".join(f"{name} = {value}\n" for name, value in values.items())

    return f"""\
[server]
listen = "127.0.0.1:{port}"
management_listen = "127.0.0.1:{management}"
drain_delay = "0s"
drain_timeout = "5s"
admin_keys = [{admin_key}]

[store]
url = "sqlite:///postroom.db"
{table(settings.store)}
[delivery]
{table(settings.delivery)}
[connections.sink]
host = "127.0.0.1"
port = {settings.smtp_port}
profile = "{settings.profile}"
ca_file = {json.dumps(str(settings.ca))}
auth = {{ method = "password", password = "bench" }}

[mailboxes.noreply]
address = "noreply@contoso.com"
connection = "sink"
send_as = ["{SENDER}"]

[tenants.bench]
keys = [{key}]
senders = ["{SENDER}"]
"""


def _new_key(*arguments: str) -> tuple[str, str]:
    done = subprocess.run([POSTROOM, "keys", "new", *arguments], check=True, capture_output=True, text=True)
    key, line = done.stdout.splitlines()[:2]
    return key, line


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def nobody() -> int:
    """Return a port at which nobody listens."""
    return _free_port()


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def knock() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True

    _await(knock, process, log)


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def ask() -> bool:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)

    _await(ask, process, log)


def _await(is_up: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            if is_up():
                return
        except OSError:
            pass
        time.sleep(0.01)
    end(process)
    raise RuntimeError(f"{process.args!r} did not come up:\n{log.read_text(errors='replace')[-2000:]}")
