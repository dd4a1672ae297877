"""A fresh store for each story, by the engine that the suite runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from app.queue.sqlite import SqliteStore
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import Desk

Open = Callable[..., Awaitable[Desk]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def open_desk(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Open]:
    """Open stores with settings of one's own; each is checked and closed at the end."""
    async with AsyncExitStack() as stack:

        async def open_(path: Path = tmp_path / "postroom.db", **settings: Any) -> Desk:
            store = await SqliteStore.open(path, clock=clock, **({"queue_limit": 0, "disk_floor": 0} | settings))
            stack.push_async_callback(store.close)
            return Desk(store, clock, path)

        yield open_


@pytest.fixture
async def desk(open_desk: Open) -> AsyncIterator[Desk]:
    """An empty store; at the end of the story it must be whole."""
    desk = await open_desk()
    yield desk
    assert await desk.store.check() == ()
