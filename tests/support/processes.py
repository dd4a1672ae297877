"""The service and its next hop as processes of their own, as an operator runs them; killed and started again at will.

Every process belongs to a ``with`` block and does not outlive it. The next hop of a service is whatever the test
offers, this emulator or a server in the test's own process; its certificate authority comes as octets.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

POSTROOM = Path(sys.executable).with_name("postroom")
SENDER = "noreply@contoso.test"
# How long a process gets until it answers, on a machine that has other things to do as well.
START_SECONDS = 30.0


# Below the ports that systems give to clients: a service that is killed must find its own free at the next start.
_PORTS = range(15_000, 32_000)
_chance = random.SystemRandom()


def free_port() -> int:
    """Return a TCP port that nobody listens on and no other test will be given while this process lives."""
    while True:
        port = _chance.choice(_PORTS)
        with socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as claim, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            # The UDP port of the same number, which nothing here needs, says to other test processes: taken.
            claim.bind(("127.0.0.1", port))
            claim.detach()
            return port


def table(**values: object) -> str:
    """Write values as lines of TOML; what JSON writes of text, numbers, booleans and lists is TOML too."""
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


def plain_client(**settings: Any) -> httpx.Client:
    """Return a client for HTTP without TLS, whose making costs no time: it reads no certificates."""
    return httpx.Client(**settings, trust_env=False, verify=False)


class Process:
    """A program whose output goes to a file; leaving the ``with`` block kills it."""

    def __init__(self, command: Sequence[str | Path], folder: Path, name: str) -> None:
        self.command = command
        self.folder = folder
        self.output = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __exit__(self, *_exc: object) -> None:
        if self.process and self.process.poll() is None:
            self.kill()

    @property
    def exit_code(self) -> int | None:
        """How the last process ended (minus the signal); None while it runs."""
        assert self.process
        return self.process.poll()

    def launch(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the program and return at once."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=output, env={**own, **(environment or {})}, cwd=self.folder
            )

    def kill(self) -> None:
        """Kill -9, as the kernel does when memory is short."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def signal(self, number: int = signal.SIGTERM) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end by itself; return the exit code."""
        assert self.process
        return self.process.wait(seconds)

    def terminate(self) -> int:
        """Ask it to end and wait; return the exit code."""
        self.signal()
        return self.wait()

    def log(self) -> str:
        return self.output.read_text()


def has_come_up(process: Process, url: str) -> bool:
    """Wait until ``url`` answers 200; False when the process ends before."""
    until = time.monotonic() + START_SECONDS
    with plain_client(timeout=1) as client:
        while time.monotonic() < until:
            if process.exit_code is not None:
                return False
            try:
                if client.get(url).status_code == 200:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(0.02)
    raise AssertionError(f"no answer within {START_SECONDS} s:\n{process.log()[-2000:]}")


class ServiceProcess(Process):
    """``postroom serve --dev`` in a folder, towards ``smtp_port``.

    ``server`` and ``store`` are settings of these tables by name; ``connection`` lines of its table, ``tenant`` of each
    tenant's, ``top`` whole tables. ``tenants`` gives several tenants, each with lines of its own; ``keys`` has a key of
    each. ``program`` is what runs in place of ``postroom``.
    """

    def __init__(
        self,
        folder: Path,
        smtp_port: int,
        ca_pem: bytes,
        password: str,
        *,
        tenant: str = "",
        top: str = "",
        connection: str = 'profile = "plain"',
        server: Mapping[str, object] | None = None,
        store: Mapping[str, object] | None = None,
        tenants: Mapping[str, str] | None = None,
        program: Sequence[str | Path] = (POSTROOM,),
    ) -> None:
        self.file = folder / "postroom.toml"
        super().__init__([*program, "serve", "--dev", "--config", self.file], folder, "service")
        self.port, self.management = free_port(), free_port()
        (folder / "ca.pem").write_bytes(ca_pem)
        (folder / "password").write_text(password)
        self.keys: dict[str, str] = {}
        listed = ""
        for name, lines in (tenants or {"demo": tenant}).items():
            made = subprocess.run([POSTROOM, "keys", "new", name], check=True, capture_output=True, text=True)
            self.keys[name], line = made.stdout.splitlines()
            listed += f'[tenants.{name}]\nkeys = [{line}]\nsenders = ["{SENDER}"]\n{lines}\n'
        self.key = next(iter(self.keys.values()))
        self.file.write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
management_listen = "127.0.0.1:{self.management}"
{table(**{"drain_delay": "0s", **(server or {})})}
[store]
{table(**{"url": "sqlite:///postroom.db", "disk_floor": "1MB", **(store or {})})}
[connections.hop]
host = "127.0.0.1"
port = {smtp_port}
ca_file = "ca.pem"
auth = {{ method = "password", password_file = "password" }}
{connection}
[mailboxes.noreply]
address = "{SENDER}"
connection = "hop"
{listed}
{top}
""")
        self.base = f"http://127.0.0.1:{self.port}"
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def __enter__(self) -> ServiceProcess:
        self.start()
        return self

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        assert self.is_ready(), self.log()[-2000:]

    def is_ready(self) -> bool:
        """Wait until it is ready; False when the process ends before."""
        return has_come_up(self, f"{self.base}/readyz")

    def readiness(self) -> tuple[int, str]:
        """Return what ``/readyz`` says now."""
        with plain_client(timeout=5) as client:
            answer = client.get(f"{self.base}/readyz")
        return answer.status_code, answer.text

    def client(self, tenant: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[tenant]}"} if tenant else self.headers
        return plain_client(base_url=self.base, headers=headers, timeout=20)


class EmulatorProcess(Process):
    """``postroom emulator`` in a folder: one mailbox, ``SENDER``, with ``limits`` by name; see docs/emulator.md."""

    PASSWORD = "emulator-secret"

    def __init__(self, folder: Path, **limits: object) -> None:
        self.port, self.http_port = free_port(), free_port()
        config, self.ca_file = folder / "emulator.toml", folder / "emulator-ca.pem"
        account = table(address=SENDER, password=self.PASSWORD)
        config.write_text(f"[[accounts]]\n{account}\n[limits]\n{table(**limits)}\n")
        ports = ("--port", str(self.port), "--http-port", str(self.http_port))
        super().__init__(
            [POSTROOM, "emulator", *ports, "--ca-out", self.ca_file, "--config", config], folder, "emulator"
        )
        self._client = plain_client(base_url=f"http://127.0.0.1:{self.http_port}", timeout=60)

    def __enter__(self) -> EmulatorProcess:
        self.launch()
        assert has_come_up(self, f"http://127.0.0.1:{self.http_port}/ca.pem"), self.log()[-2000:]
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()
        super().__exit__(*exc)

    @property
    def ca_pem(self) -> bytes:
        return self.get("/ca.pem").content

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path).raise_for_status()

    def messages(self) -> list[dict[str, Any]]:
        """Return what came to its dot, as the emulator describes it."""
        return list(self.get("/messages").json())

    def counters(self) -> dict[str, Any]:
        return dict(self.get("/counters").json())

    def order(self, **fault: object) -> None:
        """Order a fault, by the names of docs/emulator.md."""
        self._client.post("/faults", json=fault).raise_for_status()

    def slow_down(self, **seconds: float) -> None:
        """Delay the replies of phases."""
        self._client.post("/latency", json=seconds).raise_for_status()

    def faults(self) -> list[dict[str, Any]]:
        return list(self.get("/faults").json())

    def clear_faults(self) -> None:
        """Order nothing any more."""
        self._client.delete("/faults").raise_for_status()

    def forget(self) -> None:
        """Forget what arrived."""
        self._client.delete("/messages").raise_for_status()
