"""A service whose mailboxes sign in with access tokens; the emulator is both the server and the token endpoint.

Every process is real. Leaving the ``with`` block looks through all that the service wrote and said, and fails where a
secret or a token of the story stands in it.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import POSTROOM, EmulatorProcess, ServiceProcess, plain_client, table

CLIENT, SECRET = "00000000-0000-4000-8000-00000000e111", "emulator-secret"
DIRECTORY = "contoso.test"
# A signed token (RFC 7519), whoever made it.
_TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}")


def until(read: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = read()
        if holds(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


class Office:
    """See the module's promise. ``auth`` are further settings of the sign-in, ``app`` of the app as Entra knows it."""

    def __init__(
        self,
        folder: Path,
        address: str,
        *,
        allowed: tuple[str, ...] = ("*@contoso.test",),
        secret: str = SECRET,
        auth: Mapping[str, object] | None = None,
        app: Mapping[str, object] | None = None,
        top: str = "",
    ) -> None:
        made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
        self.admin_key, self._admin = made.stdout.splitlines()
        self.folder = folder
        self.secret_file = folder / "secret"
        self.secret_file.write_text(secret)
        self.secrets = {SECRET, secret, self.admin_key}
        self._address, self._auth, self._top = address, auth, top
        self.emulator = EmulatorProcess(folder)
        known = {"client_id": CLIENT, "secrets": [SECRET], "mailboxes": allowed, **(app or {})}
        (folder / "emulator.toml").write_text(f'[[accounts]]\naddress = "*@contoso.test"\n[[apps]]\n{table(**known)}\n')

    def __enter__(self) -> Office:
        self.emulator.__enter__()
        self.service = ServiceProcess(
            self.folder, self.emulator.port, self.emulator.ca_pem, "unused-one", connection=""
        )
        default = {"method": "client-secret", "client_secret_file": "secret"}
        auth = {
            "directory": DIRECTORY,
            "client_id": CLIENT,
            "authority": f"http://127.0.0.1:{self.emulator.http_port}",
            **(default if self._auth is None or "method" not in self._auth else {}),
            **(self._auth or {}),
        }
        written = ", ".join(table(**auth).splitlines())
        changes = {
            'auth = { method = "password", password_file = "password" }': f"auth = {{ {written} }}",
            '[mailboxes.noreply]\naddress = "noreply@contoso.test"': f'[mailboxes.apps]\naddress = "{self._address}"',
            'senders = ["noreply@contoso.test"]': 'senders = ["*@contoso.test"]',
            "[server]\n": f"[server]\nadmin_keys = [{self._admin}]\n",
        }
        text = self.service.file.read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        self.service.file.write_text(text + self._top)
        self.service.start()
        self.secrets.add(self.service.key)
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        said = self.service.log()
        if kind is None and self.service.exit_code is None:
            said += self.metrics() + json.dumps(self.manage("/v1/mailboxes"))
        self.service.__exit__(kind, *exc)
        self.emulator.__exit__(kind, *exc)
        assert [secret for secret in self.secrets if secret in said] == []
        assert _TOKEN.findall(said) == []

    def post(self, sender: str) -> str:
        mail = {"from": sender, "to": ["ada@customer.test"], "subject": "Hi", "text": "Hello"}
        with self.service.client() as client:
            answer = client.post("/v1/messages", json=mail)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get(self, message: str) -> dict[str, Any]:
        with self.service.client() as client:
            found: dict[str, Any] = client.get(f"/v1/messages/{message}").json()
            return found

    def until(self, message: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: self.get(message), holds)
        return found

    def manage(self, path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        with plain_client(base_url=f"http://127.0.0.1:{self.service.management}", headers=headers) as client:
            return client.request(method, path).raise_for_status().json()

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.service.management}/metrics").text

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.service.log().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def restart(self) -> None:
        self.service.kill()
        self.service.start()


def is_sent(message: dict[str, Any]) -> bool:
    return bool(message["status"] == "sent")


def waits_for(code: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: (message["waiting_for"] or {}).get("code") == code
