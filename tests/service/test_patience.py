"""Who waits for a message's outcome and gives up leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.building.service import _finished
from app.kit.bells import Bells
from app.mail.message import Work
from app.web.state import Phase, State


class Waiting:
    """A store whose message stays as it is."""

    async def work(self, _message: str) -> Work:
        return Work.QUEUED


async def _give_up(how: str) -> None:
    store: Any = Waiting()
    state = State()
    seconds = 0.01 if how == "time is over" else 60.0
    waiting = asyncio.create_task(_finished(store, Bells(), state, "msg_1", seconds))
    await asyncio.sleep(0.02)
    if how == "the caller goes":
        waiting.cancel()
    if how == "the doors close":
        state.enter(Phase.CLOSED)
    assert await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("how", ["time is over", "the caller goes", "the doors close"])
async def test_nobody_is_left_listening(how: str) -> None:
    """No task outlives the wait; one would be destroyed with a complaint in the log."""
    await _give_up(how)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
