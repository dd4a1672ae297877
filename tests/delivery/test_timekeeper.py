"""A wall clock that jumps, in the process or between two runs: waits move with it, appointments do not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.delivery.reporter import Reporter
from app.delivery.timekeeper import Timekeeper, jump_between
from app.kit.metrics import Metrics
from app.mail.message import Kind, Priority
from app.queue.contract import StoreError
from app.queue.rows import ClockSeen, NewMessage, NewRecipient
from app.queue.sqlite import SqliteStore
from tests.support.manual_clock import NOON, ManualClock

HOUR = timedelta(hours=1)
SEEN = ClockSeen("one", 1000.0, NOON)


@pytest.mark.parametrize(
    ("boot_id", "boot", "wall", "jump"),
    [
        ("one", 1060.0, NOON + timedelta(seconds=60), None),
        ("one", 1060.0, NOON + timedelta(seconds=63), None),
        ("one", 1060.0, NOON + timedelta(seconds=60) - HOUR, (-HOUR, NOON + timedelta(seconds=60) - HOUR)),
        ("one", 1060.0, NOON + timedelta(seconds=60) + HOUR, (HOUR, NOON + timedelta(seconds=60))),
        ("two", 10.0, NOON + HOUR, None),
        ("two", 10.0, NOON - HOUR, (-HOUR, NOON - HOUR)),
    ],
)
def test_a_jump_is_what_the_steady_clock_does_not_explain(boot_id, boot, wall, jump) -> None:
    found = jump_between(SEEN, ClockSeen(boot_id, boot, wall))
    assert (None if found is None else (found.by, found.after)) == jump


def message(place: int, due_in: float, *, appointment: bool = False) -> NewMessage:
    due = NOON + timedelta(seconds=due_in)
    name = f"to{place}@b.test"
    return NewMessage(
        id=f"msg_{place}", tenant="demo", sender="a@a.test", sender_key="a@a.test", subject="",
        message_id=f"<{place}@a>",
        created_at=NOON, scheduled_at=due if appointment else None, due_at=due, expires_at=NOON + 10 * HOUR, date=due,
        priority=Priority.NORMAL, size=10, smtputf8=False, tags=(), metadata={},
        recipients=(NewRecipient(name, name, name, Kind.TO),), content=(b"x\r\n",),
    )  # fmt: skip


async def due_times(store: SqliteStore) -> list[float]:
    views = [await store.message("demo", f"msg_{place}") for place in range(3)]
    return [(view.due_at - NOON).total_seconds() for view in views]


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("is_restarted", [False, True])
async def test_waits_move_with_the_clock_and_appointments_stay(tmp_path: Path, hours: int, is_restarted: bool) -> None:
    clock = ManualClock()
    reporter = Reporter(Metrics(CollectorRegistry(), "0"))
    store = await SqliteStore.open(tmp_path / "store.db", clock=clock, queue_limit=0, disk_floor=0)
    try:
        keeper = Timekeeper(store, clock, reporter)
        assert await keeper.start() is None
        for place, (due_in, appointment) in enumerate([(0.0, False), (600.0, False), (600.0, True)]):
            await store.accept(message(place, due_in, appointment=appointment))
        assert await keeper.look() is None
        clock.jump_wall(3600.0 * hours)
        if is_restarted:
            keeper = Timekeeper(store, clock, reporter)
        moved = await (keeper.start() if is_restarted else keeper.look())
        assert moved == hours * HOUR
        # What was due stays due; what waited ten minutes still waits ten minutes by the new clock.
        assert await due_times(store) == [-3600.0 if hours < 0 else 0.0, 600.0 + 3600.0 * hours, 600.0]
        assert await keeper.look() is None
        assert await Timekeeper(store, clock, reporter).start() is None
    finally:
        await store.close()


async def test_a_store_that_cannot_keep_the_clocks_does_not_move_the_waits_twice(tmp_path: Path) -> None:
    clock = ManualClock()
    reporter = Reporter(Metrics(CollectorRegistry(), "0"))
    store = await SqliteStore.open(tmp_path / "store.db", clock=clock, queue_limit=0, disk_floor=0)
    try:
        keeper = Timekeeper(store, clock, reporter)
        await keeper.start()
        for place in range(3):
            await store.accept(message(place, 600.0))
        keep, store.see_clock = store.see_clock, refuse  # type: ignore[method-assign]
        clock.jump_wall(3600.0)
        assert await keeper.look() == HOUR
        assert await keeper.look() is None
        store.see_clock = keep  # type: ignore[method-assign]
        assert await keeper.look() is None
        assert await due_times(store) == [4200.0] * 3
        assert await Timekeeper(store, clock, reporter).start() is None
    finally:
        await store.close()


async def refuse(_clocks: ClockSeen) -> None:
    raise StoreError("disk-full", "no room")
