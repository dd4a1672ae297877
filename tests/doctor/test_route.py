"""The doctor's route on the management listener: for operators only, strict about what it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from app.emulator import Account, Emulator
from app.web.keys import new_key
from tests.doctor.ward import KEY, PASSWORD, SENDER, at_rest, configuration

PATH = "/v1/mailboxes/noreply/doctor"
OPERATOR = new_key(False, Random(7))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with Emulator([Account(SENDER, PASSWORD)]) as emulator:
        path = configuration(tmp_path, emulator.port, ca=emulator.ca_pem)
        line = f'{{ id = "{OPERATOR.id}", hash = "{OPERATOR.hash}" }}'
        path.write_text(path.read_text().replace(KEY, line))
        async with (
            at_rest(path) as service,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=service.management),
                base_url="http://127.0.0.1",
                headers={"authorization": f"Bearer {OPERATOR.text}"},
            ) as made,
        ):
            yield made


async def test_an_operator_is_told_every_check(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH)
    assert answer.status_code == 200, answer.text
    checks = answer.json()["checks"]
    assert [check["name"] for check in checks if check.get("mailbox") == "noreply"] == [
        *("dns", "tcp", "banner", "starttls", "certificate", "ehlo", "clock", "token", "auth", "budgets")
    ]
    assert "mailbox" not in checks[0]
    assert set(checks[0]) == {"name", "status", "tried", "got", "means", "do"}


async def test_what_is_asked_for_is_done(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"send_to": "ada@customer.test", "force": True})
    assert answer.json()["checks"][-1]["status"] == "ok"
    assert answer.json()["checks"][-1]["name"] == "send"


@pytest.mark.parametrize(
    ("path", "request_", "status"),
    [
        ("/v1/mailboxes/nobody/doctor", {}, 404),
        (PATH, {"json": {"send_to": "nobody"}}, 422),
        (PATH, {"json": {"force": "yes"}}, 422),
        (PATH, {"json": {"sendto": "ada@customer.test"}}, 422),
        (PATH, {"content": b"force=1", "headers": {"content-type": "text/plain"}}, 415),
        (f"{PATH}?force=true", {}, 422),
        (PATH, {"headers": {"authorization": "Bearer nobody"}}, 401),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: httpx.AsyncClient, path: str, request_: dict[str, Any], status: int
) -> None:
    answer = await client.post(path, **request_)
    assert answer.status_code == status, answer.text
