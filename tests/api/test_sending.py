"""POST /v1/messages: 202 means on disk, once for each key, with the truth about what was decided."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from ipaddress import ip_network
from typing import Any

import pytest

from app.api.sending import preferred_wait
from app.api.twins import Patience
from app.intake.outcome import Refused
from app.kit.ids import new_id
from app.queue.contract import StoreError
from app.queue.rows import QuotaPolicy
from app.web.state import Phase
from tests.support.api_world import HELLO, World
from tests.support.manual_clock import ManualClock


async def test_a_202_is_on_disk_when_it_is_told(world: World) -> None:
    """A second connection finds the rows."""
    async with world.client() as client:
        response = await client.post("/v1/messages", json=HELLO)
    told = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/messages/{told['id']}"
    assert told == {
        "object": "message",
        "id": told["id"],
        "status": "queued",
        "created_at": "2026-11-23T12:00:00Z",
        "estimated_send_at": "2026-11-23T12:00:00Z",
        "waiting_for": None,
    }
    with sqlite3.connect(world.path) as db:
        assert db.execute("SELECT id FROM messages").fetchall() == [(told["id"],)]


async def test_the_type_of_the_body_must_be_one_that_is_taken(world: World) -> None:
    """JSON in UTF-8, or form data."""
    async with world.client() as client:
        for taken in (
            *("application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'),
            *("application/json;", "application/json; charset=utf8", "application/json ; ; charset=utf-8 ;"),
        ):
            response = await client.post("/v1/messages", content=b"{", headers={"content-type": taken})
            assert response.json()["code"] == "malformed-json"
        for refused in (
            "",
            "text/plain",
            "application/json; charset=latin-1",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "application/json, application/json",
            "multipart/mixed",
            "multipart/form-database; boundary=x",
        ):
            response = await client.post("/v1/messages", content=b"{}", headers={"content-type": refused})
            assert (response.status_code, response.json()["code"]) == (415, "unsupported-media-type")
    assert await world.stored() == 0


async def test_a_dry_run_stores_nothing(world: World) -> None:
    """It says what an acceptance would have said, and refuses what would have been refused."""
    async with world.client() as client:
        response = await client.post("/v1/messages?dry_run=true", json=HELLO, headers={"idempotency-key": "k"})
        assert response.status_code == 200
        assert response.json()["object"] == "dry_run"
        assert "id" not in response.json()
        assert "location" not in response.headers
        assert (await client.post("/v1/messages?dry_run=true", json={})).status_code == 422
        assert await world.stored() == 0
        assert (await client.post("/v1/messages?dry_run=false", json=HELLO)).status_code == 202


@pytest.mark.parametrize(
    "query", ["dry_run=1", "dry_run", "dry_run=true&dry_run=true", "dryrun=true", "dry_run=%ff", "&&=", "a"]
)
async def test_a_query_that_is_not_understood_is_refused(world: World, query: str) -> None:
    """Sending for real what was meant as a trial would be worse."""
    async with world.client() as client:
        response = await client.post(f"/v1/messages?{query}", json=HELLO)
    assert (response.status_code, response.json()["code"]) == (422, "validation-error")
    assert "parameter" in response.json()["errors"][0]
    assert await world.stored() == 0


async def test_of_two_hundred_twins_one_is_new_and_the_others_are_its_replay(world: World) -> None:
    """One message, and the same answer to the octet."""
    headers = {"idempotency-key": '"invoice-8812"'}
    async with world.client() as client:
        answers = await asyncio.gather(*(client.post("/v1/messages", json=HELLO, headers=headers) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert await world.stored() == 1


async def test_a_replay_tells_the_acceptance_not_the_present(world: World) -> None:
    """Quoted or bare, however the JSON is written."""
    async with world.client() as client:
        first = await client.post("/v1/messages", json=HELLO, headers={"idempotency-key": "k1"})
        await client.post(f"{first.headers['location']}/cancel")
        again = await client.post(
            "/v1/messages", json=dict(reversed(HELLO.items())), headers={"idempotency-key": '"k1"', "prefer": "wait=5"}
        )
    assert again.status_code == 202
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_key_with_another_body_is_refused(world: World) -> None:
    """422, and nothing is sent."""
    async with world.client() as client:
        await client.post("/v1/messages", json=HELLO, headers={"idempotency-key": "k1"})
        other = await client.post("/v1/messages", json={**HELLO, "subject": "x"}, headers={"idempotency-key": "k1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert await world.stored() == 1


async def test_a_rehearsal_does_not_keep_the_real_message_back(world: World) -> None:
    """What a test key did under an Idempotency-Key is no answer to a live one, and the other way round."""
    statuses = []
    for key in (world.test_key, world.key, world.test_key, world.key):
        async with world.client(key) as client:
            told = await client.post("/v1/messages", json=HELLO, headers={"idempotency-key": "k1"})
        statuses.append((told.json()["status"], told.headers.get("idempotent-replayed")))
    assert statuses == [("sent", None), ("queued", None), ("sent", "true"), ("queued", "true")]
    assert await world.stored() == 2


async def test_keys_of_two_tenants_are_apart(world: World) -> None:
    """Neither learns of the other."""
    async with world.client() as billing, world.client(world.other_key) as shop:
        for client in (billing, shop):
            response = await client.post("/v1/messages", json=HELLO, headers={"idempotency-key": "k1"})
            assert "idempotent-replayed" not in response.headers
    assert await world.stored() == 2


async def test_what_was_refused_may_come_again_under_its_key(world: World) -> None:
    """Only acceptances are kept."""
    async with world.client() as client:
        headers = {"idempotency-key": "k1"}
        assert (await client.post("/v1/messages", json={**HELLO, "to": "x"}, headers=headers)).status_code == 422
        assert (await client.post("/v1/messages", json=HELLO, headers=headers)).status_code == 202


@pytest.mark.parametrize("key", ["", '""', " ", "x" * 257, "ä", "a\tb", ("a", "b")])
async def test_a_key_that_cannot_be_used_is_400(world: World, key: Any) -> None:
    """Ignoring it silently would be a trap."""
    keys = key if isinstance(key, tuple) else (key,)
    async with world.client() as client:
        headers = [(b"idempotency-key", each.encode("latin-1")) for each in keys]
        response = await client.post("/v1/messages", json=HELLO, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "invalid-idempotency-key")
    assert await world.stored() == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("wait=5", 5),
        ("wait=300", 30),
        ('respond-async, wait="7"', 7),
        ("wait=5; x=y", 5),
        ("WAIT = 5", 5),
        ("wait=0", None),
        ("wait=-1", None),
        ("wait=abc", None),
        ("wait=9999999", None),
        ("await=5", None),
        ("respond-async", None),
    ],
)
def test_a_preference_is_applied_where_it_is_understood(header: str | None, seconds: int | None) -> None:
    """RFC 7240: what is not understood is ignored."""
    assert preferred_wait(header) == seconds


async def test_who_waits_gets_the_whole_message_when_it_is_done(world: World) -> None:
    """200, with what was applied."""
    async with world.client() as client:
        posting = asyncio.create_task(client.post("/v1/messages", json=HELLO, headers={"prefer": "wait=300"}))
        while not await world.stored():
            await asyncio.sleep(0.005)
        world.finish.set()
        response = await posting
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=30"
    assert response.json()["recipients"][0]["address"] == "ada@customer.example"
    assert response.headers["location"].endswith(response.json()["id"])


async def test_who_waits_is_told_202_when_the_doors_close(world: World) -> None:
    """Or when the time is over."""
    async with world.client() as client:
        posting = asyncio.create_task(client.post("/v1/messages", json=HELLO, headers={"prefer": "wait=30"}))
        while not await world.stored():
            await asyncio.sleep(0.005)
        world.state.enter(Phase.CLOSED)
        response = await posting
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=30"


async def test_a_test_key_does_everything_but_touch_the_wire(world: World) -> None:
    """Intake is told so."""
    async with world.client(world.test_key) as client:
        await client.post("/v1/messages", json=HELLO)
    assert world.intake.submissions[0].is_test


@pytest.mark.parametrize(
    ("trouble", "status", "code", "members"),
    [
        (
            Refused("sender-not-allowed", "no", "/from", missing="mailbox"),
            403,
            "sender-not-allowed",
            {"missing": "mailbox"},
        ),
        (Refused("priority-not-allowed", "no", "/priority"), 403, "priority-not-allowed", {}),
        (Refused("recipient-not-allowed", "no", "/to/0"), 403, "recipient-not-allowed", {}),
        (Refused("message-too-large", "no", size=9, limit=5), 413, "message-too-large", {"size": 9, "limit": 5}),
        (Refused("too-many-recipients", "no", "/to", limit=5), 422, "too-many-recipients", {"limit": 5}),
        (Refused("smtputf8-required", "no"), 422, "smtputf8-required", {}),
        (Refused("validation-error", "no", "/text", fault="control_character"), 422, "validation-error", {}),
        (StoreError("queue-full", "no"), 503, "queue-full", {}),
        (StoreError("disk-full", "no"), 503, "disk-full", {}),
        (StoreError("storage-unavailable", "no"), 503, "storage-unavailable", {}),
        (StoreError("commit-uncertain", "no"), 503, "commit-uncertain", {}),
    ],
)
async def test_what_the_rooms_below_refuse_is_told_as_a_problem(
    world: World, trouble: Exception, status: int, code: str, members: dict[str, Any]
) -> None:
    """With its field, its figures, and when to come again."""
    world.intake.trouble = trouble
    async with world.client() as client:
        response = await client.post("/v1/messages", json=HELLO)
    told = response.json()
    assert (response.status_code, told["code"]) == (status, code)
    assert {name: told[name] for name in members} == members
    if isinstance(trouble, Refused) and trouble.pointer:
        assert told["errors"][0]["pointer"] == f"#{trouble.pointer}"
    if code == "validation-error":
        assert told["errors"][0]["code"] == "control_character"
    assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.parametrize("is_multipart", [False, True])
@pytest.mark.parametrize(
    ("kind", "given", "place"),
    [
        ("to", "ada@customer.example", "#/to"),
        ("cc", {"email": "ada@customer.example"}, "#/cc"),
        ("bcc", ["ada@customer.example"], "#/bcc/0"),
    ],
)
async def test_an_address_that_stands_alone_is_pointed_at_as_it_stands(
    world: World, is_multipart: bool, kind: str, given: object, place: str
) -> None:
    """The place is one of the caller's own document, which has no list there."""
    world.intake.trouble = Refused("recipient-not-allowed", "no", f"/{kind}/0")
    message = {**HELLO, kind: given}
    async with world.client() as client:
        response = await (
            client.post("/v1/messages", files={"message": (None, json.dumps(message), "application/json")})
            if is_multipart
            else client.post("/v1/messages", json=message)
        )
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (403, place)


async def test_limits_are_told_with_every_acceptance_and_every_refusal(world: World, clock: ManualClock) -> None:
    """RateLimit and RateLimit-Policy; 429 with Retry-After and IANA's type."""
    world.intake.limit(
        QuotaPolicy("messages", "messages", 2, 60), QuotaPolicy("recipients", "recipients", 1000, 86_400)
    )
    async with world.client() as client:
        first = await client.post("/v1/messages", json=HELLO)
        assert first.headers["ratelimit-policy"] == '"messages";q=2;w=60, "recipients";q=1000;w=86400'
        assert first.headers["ratelimit"].startswith('"messages";r=1')
        await client.post("/v1/messages", json=HELLO)
        refused = await client.post("/v1/messages", json=HELLO)
        assert refused.status_code == 429
        told = refused.json()
        assert (told["code"], told["violated-policies"]) == ("quota-exceeded", ["messages"])
        assert told["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
        wait = int(refused.headers["retry-after"])
        assert 0 < wait <= 60
        await clock.advance(wait)
        assert (await client.post("/v1/messages", json=HELLO)).status_code == 202


async def test_limits_are_told_with_whatever_is_a_tenants_own_answer(world: World) -> None:
    """Also with what no route answers; not to who was kept out."""
    world.intake.limit(QuotaPolicy("messages", "messages", 2, 60))
    world.networks["shop"] = (ip_network("192.0.2.0/24"),)
    async with world.client() as client, world.client(world.other_key) as outside:
        answers = [
            await client.get("/v1/messages"),
            await client.get("/v1/nothing"),
            await client.put("/v1/messages"),
            await client.post("/v1/messages", headers={"content-length": str(10**9)}),
            await client.post("/v1/messages?dry_run=true", json=HELLO),
            await client.post("/v1/messages", json={**HELLO, "from": "a@fabrikam.com"}),
        ]
        kept_out = [
            await client.get("/v1/messages", headers={"authorization": "Bearer x"}),
            await outside.get("/v1/messages"),
            await client.get("/v1/openapi.json"),
        ]
    assert [answer.status_code for answer in answers] == [200, 404, 405, 413, 200, 403]
    assert {answer.headers["ratelimit"] for answer in answers} == {'"messages";r=2'}
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"messages";q=2;w=60'}
    assert [(answer.status_code, "ratelimit" in answer.headers) for answer in kept_out] == [
        (401, False),
        (403, False),
        (200, False),
    ]


async def test_an_exhausted_day_has_its_own_word(world: World) -> None:
    """So that nobody retries every minute."""
    world.intake.limit(QuotaPolicy("recipients", "recipients", 1, 86_400))
    async with world.client() as client:
        await client.post("/v1/messages", json=HELLO)
        refused = await client.post("/v1/messages", json=HELLO)
    assert refused.json()["code"] == "daily-quota-exceeded"
    assert int(refused.headers["retry-after"]) > 3600


async def test_a_store_that_does_not_answer_in_time_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known whether it was stored; a twin, who gives up first, is told that the other is still under way."""
    monkeypatch.setattr("app.api.twins.FIRST", Patience(0.2, "commit-uncertain"))
    monkeypatch.setattr("app.api.twins.TWIN", Patience(0.05, "idempotency-in-progress"))

    async def hang(*_args: Any, **_options: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(world.intake, "submit", hang)
    async with world.client() as client:
        response = await client.post("/v1/messages", json=HELLO)
        assert (response.status_code, response.json()["code"]) == (503, "commit-uncertain")
        key = {"Idempotency-Key": "a"}
        first = asyncio.create_task(client.post("/v1/messages", json=HELLO, headers=key))
        await asyncio.sleep(0.02)
        twin = await client.post("/v1/messages", json=HELLO, headers=key)
        assert (twin.status_code, twin.json()["code"]) == (409, "idempotency-in-progress")
        assert twin.headers["retry-after"] == "1"
        assert (await first).json()["code"] == "commit-uncertain"
        monkeypatch.undo()
        assert (await client.post("/v1/messages", json=HELLO, headers=key)).status_code == 202


async def test_the_shortcut_and_the_ordinary_route_are_one(world: World) -> None:
    """Both accept and refuse the same."""
    bodies = (HELLO, {**HELLO, "bccc": 1}, {}, {**HELLO, "to": "x"})
    seen = []
    for _ in range(2):
        async with world.client() as client:
            for body in bodies:
                response = await client.post("/v1/messages", json=body)
                told = response.json()
                seen.append((response.status_code, told.get("errors"), sorted(told), world.lines[-1]["route"]))
        world.app._shortcuts.clear()
    assert seen[: len(bodies)] == seen[len(bodies) :]


async def test_a_scope_is_needed(world: World) -> None:
    """Which one is told."""
    world.scope(world.key, "messages:read")
    async with world.client() as client:
        response = await client.post("/v1/messages", json=HELLO)
        assert (response.status_code, response.json()["scope"]) == (403, "messages:send")
        assert (await client.get("/v1/messages")).status_code == 200


async def test_a_large_message_leaves_nothing_behind(world: World) -> None:
    """What bodies hold is given back, whatever became of them."""
    memory = world.app._gate.memory
    big = {**HELLO, "attachments": [{"filename": "a", "content": "QUJD" * 500_000}]}
    async with world.client() as client:
        assert (await client.post("/v1/messages", json=big)).status_code == 202
        assert (await client.post("/v1/messages", json={**big, "to": 1})).status_code == 422
        world.intake.trouble = RuntimeError()
        assert (await client.post("/v1/messages", json=big)).status_code == 500
    assert memory.held == 0
    assert len(world.intake.drafts[0].attachments[0].content or "") == 2_000_000


async def test_limits_are_told_with_every_other_answer_too(world: World) -> None:
    """Reads, problems, replays and dry runs; and a service that has just been started counts what the rows say."""
    async with world.client() as client:
        first = await client.post("/v1/messages", json=HELLO, headers={"Idempotency-Key": "a"})
        path = first.headers["location"]
        assert "ratelimit" not in (await client.get(path)).headers  # who has no limits is not told any
        world.intake.limit(QuotaPolicy("messages", "messages", 5, 60))

        async def told() -> set[str]:
            answers = [
                await client.get("/v1/messages"),
                await client.get(path),
                await client.get(f"{path}/events"),
                await client.get("/v1/messages?limit=0"),
                await client.get(f"/v1/messages/{new_id('msg')}"),
                await client.post("/v1/messages", json={}),
                await client.post("/v1/messages?dry_run=true", json=HELLO),
                await client.post("/v1/messages", json=HELLO, headers={"Idempotency-Key": "a"}),
            ]
            assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"messages";q=5;w=60'}
            return {answer.headers["ratelimit"] for answer in answers}

        assert await told() == {'"messages";r=4'}
        assert (await client.post("/v1/messages", json=HELLO)).headers["ratelimit"] == '"messages";r=3'
        assert await told() == {'"messages";r=3'}
        assert "ratelimit" not in (await client.get("/v1/openapi.json")).headers
