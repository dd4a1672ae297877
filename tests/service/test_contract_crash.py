"""What a caller with an Idempotency-Key can rely on when the answer was lost, and for how long."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.support.contract import LETTER, waiting_service
from tests.support.processes import ServiceProcess

KEY = {"Idempotency-Key": "invoice-8812"}


def ended_in(service: ServiceProcess, point: str) -> None:
    """Run the service with one point armed, submit once, and see no answer come."""
    service.launch({"POSTROOM_FAILPOINTS": point})
    assert service.is_ready()
    with service.client() as client, pytest.raises(httpx.HTTPError):
        client.post("/v1/messages", json=LETTER, headers=KEY)
    service.wait()


def test_after_a_crash_a_repeated_request_is_answered_as_the_first_would_have_been(tmp_path: Path) -> None:
    """Whether or not it had been committed, there is one message; and after the retention the key is free again."""
    service = waiting_service(tmp_path, server={"idempotency_retention": "1h"})
    ended_in(service, "accept-before-answer")
    with service:
        with service.client() as client:
            replayed = client.post("/v1/messages", json=LETTER, headers=KEY)
            assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (202, "true")
            listed = client.get("/v1/messages").json()["data"]
            assert [message["id"] for message in listed] == [replayed.json()["id"]]
            assert client.post("/v1/messages", json={**LETTER, "text": "?"}, headers=KEY).status_code == 422
        service.kill()
        with sqlite3.connect(tmp_path / "postroom.db") as db:  # an hour goes by
            assert db.execute("UPDATE idempotency SET created_at = created_at - 3601000000").rowcount == 1
        db.close()
        service.start()
        with service.client() as client:
            again = client.post("/v1/messages", json={**LETTER, "text": "?"}, headers=KEY)
            assert again.status_code == 202
            assert "idempotent-replayed" not in again.headers
            assert again.json()["id"] != replayed.json()["id"]


def test_what_was_not_committed_is_new_when_it_is_repeated(tmp_path: Path) -> None:
    service = waiting_service(tmp_path)
    ended_in(service, "accept-before-commit")
    with service, service.client() as client:
        answer = client.post("/v1/messages", json=LETTER, headers=KEY)
        assert answer.status_code == 202
        assert "idempotent-replayed" not in answer.headers
        assert len(client.get("/v1/messages").json()["data"]) == 1
