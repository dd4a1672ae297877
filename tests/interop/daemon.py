"""What the servers have in common: a private folder, a certificate, a program that runs until the end of the block.

The programs come from Debian's packages (``make interop`` says which are missing); each runs with files of its own
below a folder of its own, on loopback, and touches nothing that the packages installed. They are started by root and
give up its rights themselves, as they do in production.
"""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import trustme

HOST = "127.0.0.1"
SENDER = "noreply@contoso.test"
PASSWORD = "correct-horse-battery"
START_SECONDS = 20.0


def program(name: str) -> str:
    """Return the path of a program; fail where it is not installed, for nothing here is skipped."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/postroom-ci/bin")
    assert found, f"{name} is not installed: deploy/ci/packages.sh installs what the tests against real programs need"
    return found


class Daemon(ABC):
    """One server; ``with`` starts it and ends it. ``port`` is where it takes submissions, with STARTTLS and sign-in."""

    offers_smtputf8 = False
    #: What its log says at the start of a session.
    session_line = ""

    def __init__(self, authority: trustme.CA) -> None:
        # Short, for the paths of sockets, and open to the users that the servers become.
        self.folder = Path(tempfile.mkdtemp(prefix="postroom-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        pair = authority.issue_cert(HOST)
        self.certificate, self.key = self.folder / "server.pem", self.folder / "server.key"
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        self.key.write_bytes(pair.private_key_pem.bytes())
        self.key.chmod(0o600)
        self.log = self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Write the configuration and return the command that runs the server in the foreground."""

    def __enter__(self) -> Daemon:
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            self._await_greeting()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process is not None:
            self.stop(self.process)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ask the server to end."""
        process.send_signal(signal.SIGTERM)

    def told(self) -> str:
        """Return what the server has logged."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def sessions(self) -> int:
        """Return how many sessions have begun, as its log tells."""
        return self.told().count(self.session_line)

    def _await_greeting(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self.process is not None
            assert self.process.poll() is None, self.told()[-3000:]
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=2) as link:
                if link.recv(3) == b"220":
                    return
            time.sleep(0.05)
        raise AssertionError(self.told()[-3000:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return a context that trusts the servers of these tests."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
