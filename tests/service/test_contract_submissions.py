"""Once and only once, at the time that was asked for, or not at all: the running service keeps the HTTP contract."""

from __future__ import annotations

import asyncio
import email.utils
import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.emulator import Account, Emulator, Fault
from tests.support.contract import LETTER, bearer, waiting_service
from tests.support.processes import SENDER, ServiceProcess

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    tenants = {"billing": "", "shop": 'priorities = ["urgent", "normal"]\nrecipients = ["*@customer.test"]'}
    with waiting_service(tmp_path_factory.mktemp("service"), tenants=tenants) as running:
        yield running


def in_store(service: ServiceProcess, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the file itself, through a connection of the test's own."""
    with sqlite3.connect(service.folder / "postroom.db") as db:
        return db.execute(statement, values).fetchall()


def count(service: ServiceProcess) -> int:
    return int(in_store(service, "SELECT count(*) FROM messages")[0][0])


async def test_of_two_hundred_concurrent_twins_one_is_new_and_199_are_replays(service: ServiceProcess) -> None:
    before = count(service)
    limits = httpx.Limits(max_connections=200)
    headers = bearer(service.keys["billing"], **{"Idempotency-Key": "twins"})
    async with httpx.AsyncClient(
        base_url=service.base, headers=headers, limits=limits, timeout=30, trust_env=False
    ) as client:
        answers = await asyncio.gather(*(client.post("/v1/messages", json=LETTER) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({(answer.content, answer.headers["location"]) for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count("true") == 199
    assert count(service) - before == 1


def test_a_key_belongs_to_its_tenant_and_to_its_body(service: ServiceProcess) -> None:
    with service.client("billing") as billing, service.client("shop") as shop:
        headers = {"Idempotency-Key": '"invoice-1"'}
        first = billing.post("/v1/messages", json=LETTER, headers=headers)
        other = shop.post("/v1/messages", json=LETTER, headers=headers)
        assert (first.status_code, other.status_code) == (202, 202)
        assert first.json()["id"] != other.json()["id"]
        again = billing.post("/v1/messages", json=LETTER, headers={"Idempotency-Key": "invoice-1"})
        assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
        changed = billing.post("/v1/messages", json={**LETTER, "text": "other"}, headers=headers)
        assert (changed.status_code, changed.json()["code"]) == (422, "idempotency-key-reused")


def test_a_dry_run_checks_everything_and_stores_nothing(service: ServiceProcess) -> None:
    before = count(service)
    with service.client("billing") as client:
        path = "/v1/messages?dry_run=true"
        fine = client.post(path, json=LETTER, headers={"Idempotency-Key": "dry"})
        assert (fine.status_code, fine.json()["status"]) == (200, "queued")
        assert fine.json()["waiting_for"]["code"]
        form = [("message", (None, json.dumps(LETTER))), ("f", ("a.txt", b"x"))]
        assert client.post(path, files=form).status_code == 200
        foreign = client.post(path, json={**LETTER, "from": "ceo@contoso.test"})
        assert (foreign.status_code, foreign.json()["missing"]) == (403, "tenant-allowlist")
        broken = client.post(path, json={**LETTER, "attachments": [{"content": "QUJ!"}]})
        assert broken.json()["errors"][0]["pointer"] == "#/attachments/0/content"
        assert client.post("/v1/messages", json=LETTER, headers={"Idempotency-Key": "dry"}).status_code == 202
    assert count(service) == before + 1
    assert in_store(service, "SELECT count(*) FROM loose") == [(0,)]


def test_a_tenant_uses_the_priorities_and_recipients_it_was_granted(service: ServiceProcess) -> None:
    with service.client("billing") as billing, service.client("shop") as shop:
        for client, priority, status in ((billing, "bulk", 202), (billing, "urgent", 403), (shop, "urgent", 202)):
            answer = client.post("/v1/messages", json={**LETTER, "priority": priority})
            assert answer.status_code == status, answer.text
        assert shop.get("/v1/messages?limit=1").json()["data"][0]["priority"] == "urgent"
        stranger = shop.post("/v1/messages", json={**LETTER, "to": [LETTER["to"], "x@else.test"]})
        assert (stranger.status_code, stranger.json()["code"]) == (403, "recipient-not-allowed")
        assert stranger.json()["errors"][0]["pointer"] == "#/to/1"


def test_a_scheduled_message_is_moved_canceled_and_retried(service: ServiceProcess) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    with service.client("billing") as client:

        def moved(path: str, at: datetime) -> httpx.Response:
            return client.patch(path, json={"scheduled_at": at.isoformat()})

        accepted = client.post("/v1/messages", json={**LETTER, "scheduled_at": (now + HOUR).isoformat()})
        path = accepted.headers["location"]
        assert accepted.json()["status"] == "scheduled"
        assert accepted.json()["waiting_for"]["code"] == "scheduled"
        later = moved(path, now + 2 * HOUR)
        assert (later.status_code, later.json()["status"]) == (200, "scheduled")
        assert datetime.fromisoformat(later.json()["scheduled_at"]) == now + 2 * HOUR
        for at in (now + timedelta(days=31), now.replace(tzinfo=None)):
            refused = moved(path, at)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/scheduled_at")
        canceled = client.post(f"{path}/cancel")
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
        gone = moved(path, now + 3 * HOUR)
        assert (gone.status_code, gone.json()["code"]) == (409, "message-not-schedulable")
        retried = client.post(f"{path}/retry").json()
        assert (retried["status"], retried["waiting_for"]["code"]) == ("scheduled", "scheduled")
        types = [event["type"] for event in client.get(f"{path}/events").json()["data"]]
        assert types == [f"message.{word}" for word in ("scheduled", "scheduled", "canceled", "retried")]


async def test_a_message_goes_when_it_was_rescheduled_to_with_that_date(
    tmp_path: Path,
) -> None:
    async with Emulator([Account(SENDER, "secret")]) as emulator:

        def story() -> dict[str, Any]:
            running = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "secret")
            scopes = ", ".join(f'"messages:{word}"' for word in ("send", "read", "content", "cancel"))
            running.file.write_text(running.file.read_text().replace("keys = [{", f"keys = [{{ scopes = [{scopes}],"))
            with running as service, service.client() as client:
                at = datetime.now(UTC) + HOUR
                path = client.post("/v1/messages", json={**LETTER, "scheduled_at": at.isoformat()}).headers["location"]
                kept = client.get(f"{path}/content")
                assert kept.headers["content-type"] == "message/rfc822"
                assert kept.text.startswith("Date: ")
                soon = datetime.now(UTC) + timedelta(seconds=0.3)
                assert client.patch(path, json={"scheduled_at": soon.isoformat()}).status_code == 200
                told = client.get(path).json()
                until = time.monotonic() + 10
                while told["status"] != "sent" and time.monotonic() < until:
                    time.sleep(0.05)
                    told = client.get(path).json()
                late = client.patch(path, json={"scheduled_at": (soon + HOUR).isoformat()})
                assert (late.status_code, late.json()["code"]) == (409, "message-not-schedulable")
                assert client.post(f"{path}/retry").json()["code"] == "nothing-to-retry"
                return told

        told = await asyncio.to_thread(story)
    assert told["status"] == "sent"
    (arrived,) = emulator.accepted
    date = next(line for line in arrived.raw.decode().split("\r\n") if line.startswith("Date: "))
    assert email.utils.parsedate_to_datetime(date[6:]) == datetime.fromisoformat(told["scheduled_at"]).replace(
        microsecond=0
    )


@pytest.mark.parametrize("offered", [True, False])
async def test_a_local_part_outside_ascii_goes_where_it_is_taken_and_is_refused_where_that_is_known(
    tmp_path: Path, offered: bool
) -> None:
    letter = {**LETTER, "to": "björn@customer.test"}
    faults = [] if offered else [Fault(action="no-smtputf8")]
    async with Emulator([Account(SENDER, "secret")], faults=faults) as emulator:

        def story() -> tuple[dict[str, Any], httpx.Response]:
            running = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "secret")
            with running as service, service.client() as client:
                first = client.post("/v1/messages", json=letter, headers={"Prefer": "wait=10"})
                return first.json(), client.post("/v1/messages?dry_run=true", json=letter)

        first, second = await asyncio.to_thread(story)
    (recipient,) = first["recipients"]
    if offered:
        assert (first["status"], second.status_code) == ("sent", 200)
        assert list(emulator.accepted[0].rcpt_tos) == ["björn@customer.test"]
    else:
        assert (first["status"], recipient["reply"]["enhanced_code"]) == ("failed", "5.6.7")
        assert "SMTPUTF8" in recipient["cause"]
        assert recipient["cure"]
        assert (second.status_code, second.json()["code"]) == (422, "smtputf8-required")
        assert not emulator.messages
