"""Cancel, reschedule, retry, resolve: each says truthfully whether it had its way."""

from __future__ import annotations

from typing import Any

import pytest

from app.mail.message import AttemptOutcome, Result
from tests.support.api_world import HELLO, World
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import REFUSED, Desk


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world.store, world.clock, world.path)


async def post(world: World, **changes: Any) -> str:
    async with world.client() as client:
        identity: str = (await client.post("/v1/messages", json={**HELLO, **changes})).json()["id"]
        return identity


async def act(
    world: World, identity: str, action: str, body: Any = None, key: Any = None
) -> tuple[int, dict[str, Any]]:
    async with world.client(key) as client:
        path = f"/v1/messages/{identity}"
        if action == "reschedule":
            response = await client.patch(path, json=body)
        elif body is None:
            response = await client.post(f"{path}/{action}")
        else:
            response = await client.post(f"{path}/{action}", json=body)
    return response.status_code, response.json()


async def test_a_waiting_message_is_canceled_once(world: World) -> None:
    """Then there is nothing left to cancel; delivery is told."""
    identity = await post(world)
    status, told = await act(world, identity, "cancel")
    assert (status, told["status"], told["recipients"][0]["result"]) == (200, "canceled", "canceled")
    assert [view.id for view in world.changed] == [identity]
    status, told = await act(world, identity, "cancel")
    assert (status, told["code"]) == (409, "message-not-cancelable")
    assert len(world.changed) == 1


async def test_a_message_being_handed_over_cannot_be_canceled(world: World, desk: Desk) -> None:
    """Once the mark is committed; before it, it can."""
    identity = await post(world)
    claim = await desk.claim()
    assert await desk.mark(claim)
    assert (await act(world, identity, "cancel"))[1]["code"] == "message-not-cancelable"
    other = await post(world)
    late = await desk.claim()
    assert (await act(world, other, "cancel"))[0] == 200
    assert not await desk.mark(late)


async def test_a_message_is_rescheduled_until_it_is_being_sent(world: World, desk: Desk) -> None:
    """Its usual lifetime moves along."""
    identity = await post(world, scheduled_at="2026-11-24T12:00:00Z")
    status, told = await act(world, identity, "reschedule", {"scheduled_at": "2026-11-25T09:00:00+01:00"})
    assert (status, told["status"]) == (200, "scheduled")
    assert told["scheduled_at"] == "2026-11-25T08:00:00Z"
    assert told["expires_at"] == "2026-11-28T08:00:00Z"
    status, told = await act(world, identity, "reschedule", {"scheduled_at": "2026-11-23T11:00:00Z"})
    assert (status, told["status"]) == (200, "queued")
    await desk.claim()
    status, told = await act(world, identity, "reschedule", {"scheduled_at": "2026-11-25T08:00:00Z"})
    assert (status, told["code"]) == (409, "message-not-schedulable")


async def test_an_expiry_of_the_callers_own_stays(world: World) -> None:
    """And nothing is scheduled behind it."""
    identity = await post(world, scheduled_at="2026-11-24T12:00:00Z", expires_at="2026-11-25T12:00:00Z")
    _, told = await act(world, identity, "reschedule", {"scheduled_at": "2026-11-25T08:00:00Z"})
    assert told["expires_at"] == "2026-11-25T12:00:00Z"
    status, told = await act(world, identity, "reschedule", {"scheduled_at": "2026-11-25T12:00:00Z"})
    assert (status, told["errors"][0]["pointer"]) == (422, "#/scheduled_at")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scheduled_at": None},
        {"scheduled_at": "tomorrow"},
        {"scheduled_at": "2026-12-24T12:00:00Z"},
        {"scheduled_at": "2026-11-24T12:00:00Z", "subject": "x"},
    ],
)
async def test_a_reschedule_takes_scheduled_at_and_nothing_else(world: World, body: dict[str, Any]) -> None:
    """422 with the field."""
    identity = await post(world)
    status, told = await act(world, identity, "reschedule", body)
    assert (status, told["code"]) == (422, "validation-error")


async def test_only_what_was_refused_can_be_retried(world: World, desk: Desk, clock: ManualClock) -> None:
    """With a new lifetime; delivery is told that something waits."""
    identity = await post(world)
    assert (await act(world, identity, "retry"))[1]["code"] == "nothing-to-retry"
    await desk.settle(await desk.claim(), AttemptOutcome.REJECTED, [Result.REJECTED], REFUSED, charged=0)
    await clock.advance(3600)
    status, told = await act(world, identity, "retry")
    assert (status, told["status"], told["recipients"][0]["result"]) == (200, "deferred", "pending")
    assert told["expires_at"] == "2026-11-26T13:00:00Z"
    assert world.changed[-1].id == identity


async def test_what_is_no_longer_kept_cannot_be_retried(world: World, desk: Desk, clock: ManualClock) -> None:
    """409 here, 410 where the content itself is asked for."""
    identity = await post(world)
    await desk.settle(await desk.claim(), AttemptOutcome.REJECTED, [Result.REJECTED], REFUSED, charged=0)
    await clock.advance(1)
    await world.store.erase_content(clock.now(), world.none, world.none, 10)
    status, told = await act(world, identity, "retry")
    assert (status, told["code"]) == (409, "content-erased")


@pytest.mark.parametrize(("word", "status"), [("sent", "sent"), ("not-sent", "deferred")])
async def test_a_person_says_what_became_of_an_unknown(world: World, desk: Desk, word: str, status: str) -> None:
    """Sent ends it, not-sent queues it again."""
    identity = await post(world)
    assert (await act(world, identity, "resolve", {"result": word}))[1]["code"] == "nothing-to-resolve"
    await desk.unknown(await desk.claim(), hold_unknown=True)
    code, told = await act(world, identity, "resolve", {"result": word})
    assert (code, told["status"]) == (200, status)


@pytest.mark.parametrize("body", [{}, {"result": "delivered"}, {"result": 1}, {"result": "sent", "x": 1}])
async def test_a_word_about_an_unknown_is_one_of_two(world: World, body: dict[str, Any]) -> None:
    """422 otherwise."""
    assert (await act(world, await post(world), "resolve", body))[0] == 422


async def test_each_action_needs_its_scope_and_its_message(world: World) -> None:
    """403 tells the scope; what is another's is not found."""
    identity = await post(world)
    bodies = {"reschedule": {"scheduled_at": "2026-11-24T12:00:00Z"}, "resolve": {"result": "sent"}}
    for action in ("cancel", "retry", "resolve", "reschedule"):
        status, told = await act(world, identity, action, bodies.get(action), world.other_key)
        assert (status, told["code"]) == (404, "not-found")
    world.scope(world.key, "messages:read")
    for action, scope in (
        ("cancel", "messages:cancel"),
        ("reschedule", "messages:cancel"),
        ("retry", "messages:send"),
        ("resolve", "messages:send"),
    ):
        status, told = await act(world, identity, action, bodies.get(action))
        assert (status, told["scope"]) == (403, scope)


async def test_a_body_of_another_type_is_refused(world: World) -> None:
    """415, where a body is taken at all."""
    identity = await post(world)
    async with world.client() as client:
        response = await client.patch(f"/v1/messages/{identity}", content=b"{}", headers={"content-type": "text/plain"})
        assert (response.status_code, response.json()["code"]) == (415, "unsupported-media-type")
        response = await client.post(f"/v1/messages/{identity}/cancel", content=b"whatever")
        assert response.status_code == 200
