"""What is too much is told and never taken: the running service keeps its limits whatever comes."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.contract import LETTER, bearer, waiting_service
from tests.support.processes import ServiceProcess

TENANTS = {
    "minute": "limits = { messages_per_minute = 5 }",
    "day": "limits = { messages_per_minute = 100, recipients_per_day = 3 }",
    "free": "",
}
POLICIES = '"messages";q=100;w=60, "recipients";q=3;w=86400'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("limits")
    with waiting_service(folder, tenants=TENANTS, server={"body_timeout": "1s"}) as running:
        yield running


async def test_a_limit_lets_through_what_it_says_however_many_come_at_once_and_after_a_restart(
    service: ServiceProcess,
) -> None:
    headers = bearer(service.keys["minute"])
    async with httpx.AsyncClient(base_url=service.base, headers=headers, timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post("/v1/messages", json=LETTER) for _ in range(40)))
    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [429] * 35
    assert sorted(
        answer.headers["ratelimit"].partition(";t")[0] for answer in answers if answer.status_code == 202
    ) == [f'"messages";r={left}' for left in range(5)]
    await asyncio.to_thread(lambda: (service.kill(), service.start()))
    with service.client("minute") as client:
        assert client.get("/v1/messages").headers["ratelimit"].startswith('"messages";r=0;t=')
        refused = client.post("/v1/messages", json=LETTER)
    told = refused.json()
    assert (refused.status_code, told["code"], told["violated-policies"]) == (429, "quota-exceeded", ["messages"])
    assert told["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert refused.headers["ratelimit-policy"] == '"messages";q=5;w=60'
    assert 0 < int(refused.headers["retry-after"]) <= 60


def test_an_exhausted_day_is_told_apart_and_harms_no_other_tenant(service: ServiceProcess) -> None:
    with service.client("day") as client, service.client("free") as other:
        first = client.post("/v1/messages", json={**LETTER, "to": ["a@x.test", "b@x.test"]})
        assert first.headers["ratelimit-policy"] == POLICIES
        assert first.headers["ratelimit"] == '"messages";r=99, "recipients";r=1'
        refused = client.post("/v1/messages", json={**LETTER, "to": ["a@x.test", "b@x.test"]})
        assert (refused.status_code, refused.json()["code"]) == (429, "daily-quota-exceeded")
        assert int(refused.headers["retry-after"]) > 86_000
        assert client.post("/v1/messages", json=LETTER).status_code == 202
        free = other.post("/v1/messages", json=LETTER)
        assert (free.status_code, "ratelimit" in free.headers) == (202, False)


def test_a_body_that_does_not_arrive_in_time_is_408_and_the_next_request_is_answered(service: ServiceProcess) -> None:
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.keys['free']}\r\n"
    slow = head + 'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"from"'
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.settimeout(10)
        connection.sendall(slow.encode())
        answer = connection.makefile("rb").read()  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request-timeout"
    assert 0.9 < time.monotonic() - began < 8
    with service.client("free") as client:
        assert client.get("/v1/messages").status_code == 200


def test_a_full_queue_and_a_full_disk_are_503_with_the_time_to_come_again(tmp_path: Path) -> None:
    """Only taking in is refused: what is there can be read, and what is known is replayed."""
    service = waiting_service(tmp_path, store={"queue_limit": 2})
    with service:
        with service.client() as client:
            for number in (1, 2):
                key = {"Idempotency-Key": str(number)}
                assert client.post("/v1/messages", json=LETTER, headers=key).status_code == 202
            full = client.post("/v1/messages", json=LETTER)
            assert (full.status_code, full.json()["code"]) == (503, "queue-full")
            assert int(full.headers["retry-after"]) > 0
            replayed = client.post("/v1/messages", json=LETTER, headers={"Idempotency-Key": "2"})
            assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (202, "true")
            assert len(client.get("/v1/messages").json()["data"]) == 2
        service.terminate()
        text = service.file.read_text().replace("queue_limit = 2", "queue_limit = 9")
        service.file.write_text(text.replace('disk_floor = "1MB"', 'disk_floor = "900000GB"'))
        service.launch()
        with service.client() as client:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    if client.get("/livez").status_code == 200 and client.get("/startupz").status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.05)
            full = client.post("/v1/messages", json=LETTER)
            assert (full.status_code, full.json()["code"]) == (503, "disk-full")
            assert int(full.headers["retry-after"]) > 0
            assert client.get("/readyz").status_code == 503
            assert len(client.get("/v1/messages").json()["data"]) == 2
