"""Modern sign-in at a server that is not ours: Dovecot asks the directory whose the token is (RFC 7662)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.interop.daemon import SENDER
from tests.interop.directory import CLIENT_ID, CLIENT_SECRET, Directory
from tests.interop.dovecot import Dovecot
from tests.interop.sink import Sink
from tests.support.processes import POSTROOM, ServiceProcess

pytestmark = pytest.mark.programs

LETTER = {"from": SENDER, "to": "ada@one.example", "subject": "Signed in", "text": "By a token."}
PATIENCE = 30.0


@contextmanager
def signing_in(
    folder: Path, server: Dovecot, authority: trustme.CA, directory: Directory, *, idle: str = "4m", admin: str = ""
) -> Iterator[ServiceProcess]:
    """Run the service, which signs in by client secret; nothing secret stands in its log at the end."""
    top = f'[delivery]\nsession_idle = "{idle}"'
    service = ServiceProcess(folder, server.port, authority.cert_pem.bytes(), "", top=top)
    password = 'auth = { method = "password", password_file = "password" }'
    text = service.file.read_text()
    assert password in text
    (folder / "secret").write_text(CLIENT_SECRET)
    token = (
        f'auth = {{ method = "client-secret", directory = "contoso.test", client_id = "{CLIENT_ID}", '
        f'client_secret_file = "secret", authority = "{directory.url}" }}'
    )
    service.file.write_text(text.replace(password, token).replace("[server]", f"[server]\nadmin_keys = [{admin}]"))
    with service:
        yield service
    told = service.log()
    assert not [secret for secret in (CLIENT_SECRET, *directory.issued) if secret in told]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def directory() -> Iterator[Directory]:
    with Directory() as running:
        yield running


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def server(authority: trustme.CA, sink: Sink, directory: Directory) -> Iterator[Dovecot]:
    with Dovecot(authority, sink.port, introspection=f"{directory.url}/introspect") as running:
        yield running


def send(http: httpx.Client) -> str:
    answer = http.post("/v1/messages", json=LETTER)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def wait_for(http: httpx.Client, identity: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    message: dict[str, Any] = {}

    def look() -> bool:
        message.update(http.get(f"/v1/messages/{identity}").json())
        return is_so(message)

    wait_until(look)
    return message


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def is_sent(message: dict[str, Any]) -> bool:
    return bool(message["status"] == "sent")


def test_a_token_opens_the_door(
    tmp_path: Path, server: Dovecot, authority: trustme.CA, directory: Directory, sink: Sink
) -> None:
    with signing_in(tmp_path, server, authority, directory) as service, service.client() as http:
        identities = [send(http) for _ in range(6)]
        for identity in identities:
            wait_for(http, identity, is_sent)
    assert len(sink.take(6, PATIENCE)) == 6
    assert len(directory.issued) == 1
    assert set(directory.asked_about) == {directory.issued[0]}
    assert "method=XOAUTH2" in server.told()


def test_a_token_that_is_refused_is_replaced_by_a_fresh_one(
    tmp_path: Path, server: Dovecot, authority: trustme.CA, directory: Directory, sink: Sink
) -> None:
    # Sessions that idle for a second end, so that the second message has to sign in.
    with signing_in(tmp_path, server, authority, directory, idle="1s") as service, service.client() as http:
        wait_for(http, send(http), is_sent)
        directory.revoke()
        wait_until(lambda: "Disconnected: Logged out" in server.told())
        message = wait_for(http, send(http), is_sent)
    assert len(directory.issued) == 2
    assert [attempt["outcome"] for attempt in message["attempts"]] == ["sent"]
    assert len(sink.take(2, PATIENCE)) == 2


def test_a_sign_in_that_is_refused_parks_the_mailbox_and_its_mail_waits(
    tmp_path: Path, server: Dovecot, authority: trustme.CA, directory: Directory, sink: Sink
) -> None:
    directory.refuses_all = True
    made = subprocess.run([POSTROOM, "keys", "new", "--admin"], check=True, capture_output=True, text=True)
    admin_key, line = made.stdout.splitlines()
    with signing_in(tmp_path, server, authority, directory, admin=line) as service, service.client() as http:
        waiting = wait_for(
            http, send(http), lambda message: (message["waiting_for"] or {}).get("code") == "mailbox-parked"
        )
        assert waiting["attempts"] == []
        assert len(directory.issued) == 2
        directory.refuses_all = False
        resumed = subprocess.run(
            [POSTROOM, "mailbox", "resume", "noreply", "--config", service.file],
            capture_output=True,
            text=True,
            env={**os.environ, "POSTROOM_ADMIN_KEY": admin_key},
        )
        assert resumed.returncode == 0, resumed.stderr
        wait_for(http, waiting["id"], is_sent)
    assert len(sink.take(1, PATIENCE)) == 1
