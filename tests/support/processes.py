"""The service as a process of its own, as an operator runs it; killed and started again at will.

The next hop is whatever the test offers; its certificate authority comes as a file.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

POSTROOM = Path(sys.executable).with_name("postroom")
SENDER = "noreply@contoso.test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServiceProcess:
    """``postroom serve --dev`` in a folder, towards ``smtp_port``."""

    def __init__(self, folder: Path, smtp_port: int, ca_pem: bytes, password: str, *, tenant: str = "", top: str = ""):
        self.folder = folder
        self.port, self.management = free_port(), free_port()
        (folder / "ca.pem").write_bytes(ca_pem)
        (folder / "password").write_text(password)
        made = subprocess.run([POSTROOM, "keys", "new", "demo"], check=True, capture_output=True, text=True)
        self.key, line = made.stdout.splitlines()
        (folder / "postroom.toml").write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
management_listen = "127.0.0.1:{self.management}"
drain_delay = "0s"
[store]
url = "sqlite:///postroom.db"
disk_floor = "1MB"
[connections.hop]
host = "127.0.0.1"
port = {smtp_port}
ca_file = "ca.pem"
profile = "plain"
auth = {{ method = "password", password_file = "password" }}
[mailboxes.noreply]
address = "{SENDER}"
connection = "hop"
[tenants.demo]
keys = [{line}]
senders = ["{SENDER}"]
{tenant}
{top}
""")
        self.process: subprocess.Popen[bytes] | None = None
        self.base = f"http://127.0.0.1:{self.port}"
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def __enter__(self) -> ServiceProcess:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process and self.process.poll() is None:
            self.kill()

    def start(self) -> None:
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [POSTROOM, "serve", "--dev", "--config", str(self.folder / "postroom.toml")],
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")},
                cwd=self.folder,
            )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log()[-2000:]
            try:
                if httpx.get(f"{self.base}/readyz", timeout=1, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log()[-2000:])

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base, headers=self.headers, timeout=20, trust_env=False)
