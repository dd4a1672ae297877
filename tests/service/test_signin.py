"""Signing in with access tokens, by real processes: the token endpoint and the server are the emulator's."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import POSTROOM, EmulatorProcess, ServiceProcess, plain_client, table

CLIENT, SECRET = "00000000-0000-4000-8000-00000000e111", "emulator-secret"


class Office:
    """A service whose mailboxes sign in with tokens, its emulator, and an operator's key."""

    def __init__(
        self,
        folder: Path,
        address: str,
        *,
        secret: str = SECRET,
        allowed: tuple[str, ...],
        more: str = "",
        top: str = "",
    ) -> None:
        made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
        self.admin_key, line = made.stdout.splitlines()
        self.emulator = EmulatorProcess(folder)
        config = folder / "emulator.toml"
        app = table(client_id=CLIENT, secrets=[SECRET], mailboxes=allowed)
        config.write_text(f'[[accounts]]\naddress = "*@contoso.test"\n[[apps]]\n{app}\n')
        self._folder, self._address, self._secret, self._admin = folder, address, secret, line
        self._more, self._top = more, top

    def __enter__(self) -> Office:
        self.emulator.__enter__()
        self.service = ServiceProcess(self._folder, self.emulator.port, self.emulator.ca_pem, "unused", connection="")
        self.secret_file = self._folder / "secret"
        self.secret_file.write_text(self._secret)
        text = self.service.file.read_text()
        text = text.replace(
            'auth = { method = "password", password_file = "password" }',
            f'auth = {{ method = "client-secret", directory = "contoso.test", client_id = "{CLIENT}", '
            f'client_secret_file = "secret", authority = "http://127.0.0.1:{self.emulator.http_port}"{self._more} }}',
        )
        text = text.replace(
            '[mailboxes.noreply]\naddress = "noreply@contoso.test"', f'[mailboxes.apps]\naddress = "{self._address}"'
        )
        text = text.replace('senders = ["noreply@contoso.test"]', 'senders = ["*@contoso.test"]')
        text = text.replace("[server]\n", f"[server]\nadmin_keys = [{self._admin}]\n")
        self.service.file.write_text(text + self._top)
        self.service.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.service.__exit__(*exc)
        self.emulator.__exit__(*exc)

    def post(self, sender: str) -> str:
        with self.service.client() as client:
            answer = client.post(
                "/v1/messages", json={"from": sender, "to": ["ada@customer.test"], "subject": "Hi", "text": "Hello"}
            )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get(self, message: str) -> dict[str, Any]:
        with self.service.client() as client:
            return client.get(f"/v1/messages/{message}").json()

    def until(self, message: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return until(lambda: self.get(message), holds)

    def manage(self, path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        with plain_client(base_url=f"http://127.0.0.1:{self.service.management}", headers=headers) as client:
            return client.request(method, path).raise_for_status().json()

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.service.management}/metrics").text

    def restart(self) -> None:
        self.service.kill()
        self.service.start()


def until(read: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 15) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = read()
        if holds(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def is_sent(message: dict[str, Any]) -> bool:
    return message["status"] == "sent"


def waits_for(code: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: (message["waiting_for"] or {}).get("code") == code


def test_one_app_signs_in_as_each_from_address_and_a_refused_one_waits_alone(tmp_path: Path) -> None:
    allowed = ("billing@contoso.test", "alerts@contoso.test")
    with Office(tmp_path, "*@contoso.test", allowed=allowed) as office:
        sent = [office.until(office.post(sender), is_sent) for sender in allowed]
        assert [each["attempts"][0]["mailbox"] for each in sent] == [f"apps/{sender}" for sender in allowed]
        refused = [office.post(f"nobody{number}@contoso.test") for number in range(5)]
        held = [
            office.until(each, lambda m: bool(m["waiting_for"]) and m["waiting_for"]["code"].startswith("sender-"))
            for each in refused
        ]
        until(
            lambda: [office.get(each)["waiting_for"]["code"] for each in refused],
            lambda codes: sorted(codes) == ["sender-held"] * 3 + ["sender-unproven"] * 2,
        )
        assert all(each["estimated_send_at"] and not each["attempts"] for each in held)
        refusals = office.emulator.counters()["auth_failed"]
        assert refusals == 3
        assert is_sent(office.until(office.post("billing@contoso.test"), is_sent))
        names = {each["name"]: each for each in office.manage("/v1/mailboxes")["data"]}
        assert {"apps", "apps/billing@contoso.test", "apps/alerts@contoso.test"} <= names.keys()
        assert names["apps/billing@contoso.test"]["state"] == "ok"
        assert names["apps/billing@contoso.test"]["minute"]["used"] == 2
        one = office.manage("/v1/mailboxes/apps/billing@contoso.test")
        assert one["address"] == "billing@contoso.test" and one["sign_in"] == {"method": "client-secret"}
        office.restart()
        assert is_sent(office.until(office.post("alerts@contoso.test"), is_sent))
        until(
            lambda: sorted(office.get(each)["waiting_for"]["code"] for each in refused),
            lambda codes: codes == ["sender-held"] * 3 + ["sender-unproven"] * 2,
        )
        assert office.emulator.counters()["auth_failed"] == refusals
        assert office.manage("/v1/mailboxes/apps/billing@contoso.test")["minute"]["used"] == 2


def test_a_refused_secret_parks_the_connection_until_it_is_mended(tmp_path: Path) -> None:
    with Office(tmp_path, "billing@contoso.test", secret="wrong-secret-value", allowed=("*@contoso.test",)) as office:
        message = office.post("billing@contoso.test")
        waiting = office.until(message, waits_for("mailbox-parked"))
        assert waiting["estimated_send_at"] is None
        parked = office.manage("/v1/mailboxes/apps")["parked"]
        assert parked["reason"] == "AADSTS7000215" and parked["cause"] and parked["cure"]
        assert 'postroom_mailbox_parked{mailbox="apps",reason="AADSTS7000215"} 1' in office.metrics()
        office.service.terminate()
        office.secret_file.write_text(SECRET)
        office.service.start()
        office.until(message, is_sent)
        assert "wrong-secret-value" not in office.service.log() and SECRET not in office.service.log()


def test_a_token_endpoint_in_trouble_is_a_connection_trouble(tmp_path: Path) -> None:
    with Office(tmp_path, "billing@contoso.test", allowed=("*@contoso.test",)) as office:
        office.emulator.order(phase="token", status=503, times=2)
        message = office.post("billing@contoso.test")
        waiting = office.until(message, waits_for("connection"))
        assert "503" in waiting["waiting_for"]["text"]
        office.until(message, is_sent)


def test_the_first_refused_sender_costs_a_fresh_token_and_the_second_none(tmp_path: Path) -> None:
    with Office(tmp_path, "*@contoso.test", allowed=("billing@contoso.test",)) as office:
        refused = [office.post(f"nobody{number}@contoso.test") for number in range(4)]
        until(
            lambda: sorted((office.get(each)["waiting_for"] or {}).get("code", "") for each in refused),
            lambda codes: codes == ["sender-held"] * 2 + ["sender-unproven"] * 2,
        )
        assert office.emulator.counters()["auth_failed"] == 3


LEGACY = """
[connections.legacy]
host = "smtp.office365.com"
auth = { method = "password", password = "an-app-password" }
[mailboxes.old]
address = "old@contoso.test"
connection = "legacy"
"""


def test_the_ends_of_credentials_are_told_to_operators(tmp_path: Path) -> None:
    ends = (datetime.now(UTC) + timedelta(days=20, hours=1)).isoformat()
    more = f', secret_expires_at = "{ends}"'
    with Office(tmp_path, "billing@contoso.test", allowed=("*@contoso.test",), more=more, top=LEGACY) as office:
        told = until(lambda: office.manage("/v1/mailboxes/apps")["sign_in"], lambda sign_in: "days_left" in sign_in)
        assert told["method"] == "client-secret" and told["days_left"] == 20 and told["expires_at"]
        old = office.manage("/v1/mailboxes/old")["sign_in"]
        assert old["method"] == "password" and old["expires_at"].startswith("2027-01-01T00:00:00")
        figures = until(office.metrics, lambda text: text.count("postroom_credential_expiry_seconds{") == 2)
        assert 'postroom_credential_expiry_seconds{kind="basic-auth",mailbox="old"}' in figures
        assert 'postroom_credential_expiry_seconds{kind="secret",mailbox="apps"} 1.7' in figures
        lines = [json.loads(line) for line in office.service.log().splitlines() if "credential expires" in line]
        assert {(line["mailbox"], line["kind"]) for line in lines} == {("apps", "secret"), ("old", "basic-auth")}
