"""GET: what a tenant may see of its messages, and of nobody else's."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

import pytest

from app.kit.ids import new_id
from app.mail.message import AttemptOutcome, Result
from app.queue.contract import StoreError
from app.web.keys import KeyRing
from tests.support.api_world import HELLO, World
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import REFUSED, Desk


async def post(world: World, **changes: Any) -> str:
    async with world.client() as client:
        response = await client.post("/v1/messages", json={**HELLO, **changes})
        assert response.status_code == 202, response.text
        identity: str = response.json()["id"]
        return identity


async def test_a_message_is_told_with_recipients_attempts_and_the_servers_words(world: World) -> None:
    """By the names of the contract."""
    identity = await post(
        world,
        cc=[{"email": "cc@customer.example", "name": "C"}],
        tags=[{"name": "kind", "value": "invoice"}],
        metadata={"invoice_id": "8812"},
    )
    desk = Desk(world.store, world.clock, world.path)
    await desk.send(await desk.claim())
    async with world.client() as client:
        told = (await client.get(f"/v1/messages/{identity}")).json()
    reply = {"code": 250, "enhanced_code": "2.0.0", "text": "OK", "phase": "dot"}
    assert told.pop("message_id").startswith("<msg_")
    assert sorted(recipient["address"] for recipient in told["recipients"]) == [
        "ada@customer.example",
        "cc@customer.example",
    ]
    assert all(recipient["reply"] == reply and recipient["result"] == "sent" for recipient in told.pop("recipients"))
    assert told.pop("attempts") == [
        {
            "number": 1,
            "mailbox": "noreply",
            "started_at": "2026-11-23T12:00:00Z",
            "ended_at": "2026-11-23T12:00:00Z",
            "outcome": "sent",
            "reply": reply,
        }
    ]
    assert told == {
        "object": "message",
        "id": identity,
        "status": "sent",
        "from": "Billing <billing@contoso.com>",
        "subject": "Invoice 8812",
        "created_at": "2026-11-23T12:00:00Z",
        "scheduled_at": None,
        "expires_at": "2026-11-26T12:00:00Z",
        "priority": "normal",
        "tags": [{"name": "kind", "value": "invoice"}],
        "metadata": {"invoice_id": "8812"},
        "estimated_send_at": None,
        "waiting_for": None,
    }


@pytest.mark.parametrize("path", ["", "/events", "/content"])
async def test_what_is_anothers_or_nobodys_is_not_found(world: World, path: str) -> None:
    """The same answer for both, and for what is no id."""
    identity = await post(world)
    world.ring = KeyRing([("shop", world.all_scopes(world.other_key))])
    async with world.client(world.other_key) as stranger:
        for wanted in (
            identity,
            new_id("msg"),
            "msg_x",
            identity.lower(),
            "%00",
            "..",
            "1;drop",
            identity + "x",
            "%F0",
        ):
            response = await stranger.get(f"/v1/messages/{wanted}{path}")
            assert (response.status_code, response.json()["code"]) == (404, "not-found"), wanted
    assert world.lines[-9]["message_id"] == identity


async def test_a_listing_goes_through_all_messages_newest_first_in_both_directions(
    world: World, clock: ManualClock
) -> None:
    """By cursors that nobody needs to understand."""
    made = []
    for _ in range(7):
        made.append(await post(world))
        await clock.advance(1)
    newest_first = made[::-1]
    async with world.client() as client:

        async def page(**query: Any) -> dict[str, Any]:
            response = await client.get("/v1/messages", params=query)
            assert response.status_code == 200, response.text
            told: dict[str, Any] = response.json()
            return told

        first = await page(limit=3)
        assert [each["id"] for each in first["data"]] == newest_first[:3]
        assert first["previous_cursor"] is None
        assert first["has_more"] is True
        second = await page(limit=3, after=first["next_cursor"])
        assert [each["id"] for each in second["data"]] == newest_first[3:6]
        third = await page(limit=3, after=second["next_cursor"])
        assert [each["id"] for each in third["data"]] == newest_first[6:]
        assert (third["next_cursor"], third["has_more"]) == (None, False)
        back = await page(limit=3, before=third["previous_cursor"])
        assert [each["id"] for each in back["data"]] == newest_first[3:6]
    async with world.client(world.other_key) as stranger:
        assert (await stranger.get("/v1/messages")).json()["data"] == []
        assert (await stranger.get("/v1/messages", params={"after": first["next_cursor"]})).json()["data"] == []


async def test_each_filter_finds_what_it_names(world: World, clock: ManualClock) -> None:
    """Alone and together."""
    first = await post(world, to="Ada@Customer.example", tags=[{"name": "kind", "value": "invoice"}])
    await clock.advance(10)
    second = await post(
        world, **{"from": "shop@contoso.com"}, bcc="x@customer.example", scheduled_at="2026-11-24T12:00:00Z"
    )
    async with world.client() as client:
        for query, found in (
            ({"to": "ada@customer.example"}, {first, second}),
            ({"to": "X@customer.example"}, {second}),
            ({"from": "SHOP@contoso.com"}, {second}),
            ({"tag": "kind:invoice"}, {first}),
            ({"tag": "kind:other"}, set()),
            ({"status": "scheduled"}, {second}),
            ({"status": "queued"}, {first}),
            ({"created_after": "2026-11-23T12:00:05Z"}, {second}),
            ({"created_before": "2026-11-23T13:00:05+01:00"}, {first}),
            ({"to": "ada@customer.example", "status": "queued", "tag": "kind:invoice"}, {first}),
        ):
            told = (await client.get("/v1/messages", params=query)).json()
            assert {each["id"] for each in told["data"]} == found, query
        raw = (await client.get("/v1/messages?created_before=2026-11-23T13:00:05+01:00")).json()
        assert {each["id"] for each in raw["data"]} == {first}  # a plus nobody escaped


async def test_who_goes_on_from_an_instant_that_was_told_meets_nothing_twice(world: World, clock: ManualClock) -> None:
    """Told to the millisecond, kept finer: later than a message's created_at is not the message itself."""
    await clock.advance(0.246789)
    first = await post(world)
    await clock.advance(0.001)
    second = await post(world)
    async with world.client() as client:
        at = (await client.get(f"/v1/messages/{first}")).json()["created_at"]
        assert at == "2026-11-23T12:00:00.246Z"
        for name, found in (("created_after", [second]), ("created_before", [])):
            told = (await client.get("/v1/messages", params={name: at})).json()
            assert [each["id"] for each in told["data"]] == found


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=", "limit"),
        ("limit=5&limit=6", "limit"),
        ("page=2", "page"),
        ("offset=2", "offset"),
        ("status=delivered", "status"),
        ("status=", "status"),
        ("to=nobody", "to"),
        ("to=Ada%20%3Ca@b.example%3E", "to"),
        ("from=a@b.example%0D%0A", "from"),
        ("tag=kind", "tag"),
        ("tag=a%20b:c", "tag"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2026-11-23", "created_before"),
        ("after=1", "after"),
        ("after=AAAAAAAAAAAAAAAA", "after"),
        ("before=%2F%2F%2F%2F", "before"),
        ("after=__________9qMVjD", "after"),
        ("a=%zz&%ff=1", "a"),
    ],
)
async def test_a_query_that_cannot_be_meant_is_refused(world: World, query: str, parameter: str) -> None:
    """With the name of the parameter, never its value."""
    async with world.client() as client:
        response = await client.get(f"/v1/messages?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "validation-error")
    assert response.json()["errors"][0]["parameter"] in (parameter, "")


async def test_after_and_before_exclude_each_other(world: World) -> None:
    """There is no page that is both."""
    for _ in range(3):
        await post(world)
    async with world.client() as client:
        cursor = (await client.get("/v1/messages?limit=1")).json()["next_cursor"]
        response = await client.get("/v1/messages", params={"after": cursor, "before": cursor})
    assert response.status_code == 422


async def test_a_query_where_none_is_taken_is_refused(world: World) -> None:
    """A typo in a path must not look like success."""
    identity = await post(world)
    async with world.client(world.full_key) as client:
        for path in ("", "/events", "/content"):
            assert (await client.get(f"/v1/messages/{identity}{path}?limit=1")).status_code == 422


async def test_the_timeline_tells_what_happened(world: World) -> None:
    """Oldest first, one line for each recipient whose result changes."""
    identity = await post(world)
    desk = Desk(world.store, world.clock, world.path)
    await desk.deferred(await desk.claim())
    async with world.client() as client:
        told = (await client.get(f"/v1/messages/{identity}/events")).json()
    assert told["object"] == "list"
    assert told["data"][0]["type"] == "message.accepted"
    deferred = told["data"][-1]
    assert deferred["type"] == "message.deferred"
    assert deferred["attempt"] == 1
    assert deferred["reply"]["code"] == 451
    assert deferred["next_attempt_at"] == "2026-11-23T12:00:30Z"
    assert set(deferred) == {"id", "type", "at", "attempt", "recipient", "reply", "cause", "cure", "next_attempt_at"}


async def test_the_content_is_what_goes_to_the_wire_while_it_is_kept(world: World, clock: ManualClock) -> None:
    """With its Date line first; then 410; and only with the scope for it."""
    identity = await post(world)
    async with world.client() as client:
        response = await client.get(f"/v1/messages/{identity}/content")
        assert (response.status_code, response.json()["scope"]) == (403, "messages:content")
    async with world.client(world.full_key) as client:
        response = await client.get(f"/v1/messages/{identity}/content")
        assert response.headers["content-type"] == "message/rfc822"
        assert response.content.startswith(b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n")
        assert message_from_bytes(response.content)["Subject"]
        desk = Desk(world.store, world.clock, world.path)
        await desk.send(await desk.claim())
        await clock.advance(1)
        await world.store.erase_content(clock.now(), world.none, world.none, 10)
        response = await client.get(f"/v1/messages/{identity}/content")
        assert (response.status_code, response.json()["code"]) == (410, "content-erased")


async def test_a_store_that_cannot_read_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """On each route."""

    async def fail(*_args: Any) -> None:
        raise StoreError("storage-unavailable", "the file is gone")

    for name in ("message", "messages", "events"):
        monkeypatch.setattr(world.store, name, fail)
    identity = new_id("msg")
    async with world.client(world.full_key) as client:
        for path in ("", f"/{identity}", f"/{identity}/events", f"/{identity}/content"):
            response = await client.get(f"/v1/messages{path}")
            assert (response.status_code, response.json()["code"]) == (503, "storage-unavailable")
            assert int(response.headers["retry-after"]) > 0


async def test_a_refused_recipient_carries_the_words(world: World) -> None:
    """And the message is failed."""
    identity = await post(world)
    desk = Desk(world.store, world.clock, world.path)
    await desk.settle(await desk.claim(), AttemptOutcome.REJECTED, [Result.REJECTED], REFUSED, charged=0)
    async with world.client() as client:
        told = (await client.get(f"/v1/messages/{identity}")).json()
    assert told["status"] == "failed"
    assert told["recipients"][0]["reply"]["enhanced_code"] == "5.1.1"
