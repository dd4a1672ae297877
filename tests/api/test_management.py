"""The management listener: health, metrics, and the mailboxes for operators' keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.api.doors import create_management
from app.api.services import ManagementServices
from app.delivery.desk import Refusal
from app.delivery.operators import MailboxView, SignIn, UnknownMailbox
from app.intake.outcome import Forecast
from app.mail.reply import Phase as ReplyPhase
from app.mail.reply import Reply
from app.queue.rows import ParkedRow
from app.web.state import Phase
from tests.support.api_world import World
from tests.support.manual_clock import NOON

VIEW = MailboxView(
    name="noreply",
    address="noreply@contoso.com",
    state="ok",
    parked=None,
    sign_in=SignIn("password"),
    sessions_open=2,
    sessions_busy=1,
    sessions_limit=3,
    minute=(12, 30),
    day=(400, 10_000),
    day_forecast_at=None,
    last_success_at=NOON,
    last_refusal=None,
)
PARKED = replace(
    VIEW,
    state="parked",
    parked=ParkedRow("noreply", "operator", "parked by 4Tn2kQ9xWb7d", "resume it", NOON, None, ""),
    sign_in=SignIn("client-secret", 12, NOON + timedelta(days=12)),
    last_refusal=Refusal(NOON, Reply(535, "5.7.139", "no", ReplyPhase.AUTH), "cause", "cure"),
)


class OneMailbox:
    """Operators over one mailbox, and who did what."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def mailboxes(self) -> Sequence[MailboxView]:
        return [VIEW]

    def mailbox(self, name: str) -> MailboxView:
        if name != "noreply":
            raise UnknownMailbox(name)
        return VIEW

    async def park(self, name: str, who: str) -> MailboxView:
        self.mailbox(name)
        self.done.append(("park", who))
        return PARKED

    async def resume(self, name: str, who: str) -> MailboxView:
        self.mailbox(name)
        self.done.append(("resume", who))
        return VIEW


@pytest.fixture
def operators() -> OneMailbox:
    return OneMailbox()


@pytest.fixture
def client(world: World, operators: OneMailbox) -> httpx.AsyncClient:
    async def refresh() -> None:
        world.metrics.queue_oldest_age.set(7)

    services = ManagementServices(
        operators=operators,
        senders=None,  # these have their stories in files of their own
        first_aid=None,
        forecast=lambda _view: Forecast(None, None),
        probe=world.store.probe,
        alive=lambda: True,
        refresh=refresh,
        keys=lambda: world.ring,
        clock=world.clock,
        state=world.state,
        metrics=world.metrics,
        log=world.log,
    )
    transport = httpx.ASGITransport(create_management(services))
    headers = {"authorization": f"Bearer {world.admin_key.text}"}
    return httpx.AsyncClient(transport=transport, base_url="http://postroom.test", headers=headers)


async def test_health_and_metrics_are_for_everybody(client: httpx.AsyncClient) -> None:
    """Without a key; the checks one by one."""
    del client.headers["authorization"]
    assert (await client.get("/readyz?verbose")).text == "started: ok\nstaying: ok\nstore: ok\n"
    assert (await client.head("/livez")).status_code == 200
    assert "postroom_queue_oldest_age_seconds 7.0" in (await client.get("/metrics")).text
    assert (await client.get("/v1/mailboxes")).status_code == 401


async def test_operators_see_their_mailboxes(client: httpx.AsyncClient) -> None:
    """By the names of the contract."""
    told = (await client.get("/v1/mailboxes")).json()
    assert (told["object"], told["has_more"]) == ("list", False)
    assert told["data"] == [
        {
            "name": "noreply",
            "address": "noreply@contoso.com",
            "state": "ok",
            "parked": None,
            "sign_in": {"method": "password"},
            "sessions": {"open": 2, "busy": 1, "limit": 3},
            "minute": {"used": 12, "limit": 30},
            "day": {"used": 400, "limit": 10000, "forecast_at": None},
            "last_success_at": "2026-11-23T12:00:00Z",
            "last_refusal": None,
        }
    ]
    assert (await client.get("/v1/mailboxes/noreply")).json() == told["data"][0]
    assert (await client.get("/v1/mailboxes/other")).json()["code"] == "not-found"


async def test_operators_park_and_resume(client: httpx.AsyncClient, operators: OneMailbox, world: World) -> None:
    """200 with the mailbox; who did it is the key's id."""
    told: dict[str, Any] = (await client.post("/v1/mailboxes/noreply/park")).json()
    assert told["parked"] == {
        "reason": "operator",
        "cause": "parked by 4Tn2kQ9xWb7d",
        "cure": "resume it",
        "since": "2026-11-23T12:00:00Z",
        "until": None,
    }
    assert told["sign_in"] == {"method": "client-secret", "days_left": 12, "expires_at": "2026-12-05T12:00:00Z"}
    assert told["last_refusal"]["reply"]["enhanced_code"] == "5.7.139"
    assert (await client.post("/v1/mailboxes/noreply/resume")).json()["parked"] is None
    assert operators.done == [("park", world.admin_key.id), ("resume", world.admin_key.id)]
    for path in ("other/park", "other/resume"):
        assert (await client.post(f"/v1/mailboxes/{path}")).status_code == 404


async def test_a_tenants_key_is_no_operators(client: httpx.AsyncClient, world: World) -> None:
    """403, whatever its scopes."""
    response = await client.get("/v1/mailboxes", headers={"authorization": f"Bearer {world.full_key.text}"})
    assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")


async def test_the_operators_door_stays_open_while_the_service_stops(client: httpx.AsyncClient, world: World) -> None:
    """That is when they look."""
    world.state.enter(Phase.CLOSED)
    assert (await client.get("/v1/mailboxes")).status_code == 200
    assert (await client.get("/readyz")).text == "draining"


async def test_what_operators_send_is_json_and_nothing_else(client: httpx.AsyncClient) -> None:
    """415 for another type and for what is compressed, before anything is done."""
    for path in ("/v1/queue/hold", "/v1/queue/cancel", "/v1/queue/release", "/v1/senders/release"):
        for headers in (
            {},
            {"content-type": "text/plain"},
            {"content-type": "application/json; charset=utf-16"},
            {"content-type": "application/json", "content-encoding": "gzip"},
        ):
            answer = await client.post(path, content=b'{"tenant": "billing"}', headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type"), (path, headers)


async def test_what_is_not_there_is_a_problem_here_too(client: httpx.AsyncClient) -> None:
    """404, 405, 422."""
    assert (await client.get("/v1/messages")).json()["code"] == "not-found"
    assert (await client.delete("/v1/mailboxes")).json()["code"] == "method-not-allowed"
    for deed in ("park", "resume", "doctor"):
        told = await client.get(f"/v1/mailboxes/noreply/{deed}")
        assert (told.status_code, told.headers["allow"]) == (405, "POST")
    assert (await client.get("/v1/mailboxes?x=1")).json()["code"] == "validation-error"
