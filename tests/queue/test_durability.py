"""Evidence that what was promised is on disk: syncs that cover it, power losses, and processes killed at any point."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.mail.message import Result, Work
from app.queue.rows import Accepted, NewMessage
from tests.support.fault_vfs import FaultVfs, fault_vfs
from tests.support.store_kit import TENANT, Desk, letter

ROOT = Path(__file__).parents[2]


@pytest.fixture
def vfs() -> Iterator[FaultVfs]:
    with fault_vfs() as vfs:
        yield vfs


async def test_every_accept_returns_after_a_sync_that_covers_it(open_desk, vfs: FaultVfs) -> None:
    """The write that carries the message's id comes before a sync of the log, and that before the return."""
    desk = await open_desk(vfs=vfs.name)
    returned: dict[str, int] = {}

    async def caller() -> None:
        for _ in range(10):
            new = letter(desk.clock)
            await desk.store.accept(new)
            returned[new.id] = len(vfs.operations)

    await asyncio.gather(*(caller() for _ in range(8)))
    assert len(returned) == 80
    for id_, end in returned.items():
        written = next(
            each.number
            for each in vfs.operations
            if each.is_log and each.data is not None and id_.encode() in each.data
        )
        assert any(written < sync.number < end for sync in vfs.syncs()), id_


async def survivors(open_desk, vfs: FaultVfs, folder: Path, survives) -> Desk:
    """The store that a power loss now would leave."""
    folder.mkdir()
    vfs.power_loss(folder, survives)
    return await open_desk(folder / "postroom.db")


@pytest.mark.parametrize("seed", range(6))
async def test_a_power_loss_loses_nothing_that_was_told(open_desk, vfs: FaultVfs, tmp_path: Path, seed: int) -> None:
    """At random moments under load, with any part of what was not synced surviving (none of it, for even seeds)."""
    chance = random.Random(seed)
    desk = await open_desk(vfs=vfs.name)
    told: dict[str, Result] = {}
    news: dict[str, NewMessage] = {}
    stop = asyncio.Event()

    async def accepting() -> None:
        while not stop.is_set():
            new = letter(desk.clock, content=[bytes(chance.randrange(1, 9000))])
            if isinstance(await desk.store.accept(new), Accepted):
                news[new.id] = new
                told[new.id] = Result.PENDING

    async def sending() -> None:
        while not stop.is_set():
            for claim in (await desk.pick()).claims:
                await desk.send(claim)
                told[claim.message] = Result.SENT
            await asyncio.sleep(0)

    workers = [asyncio.create_task(work()) for work in (accepting, accepting, accepting, sending)]
    for turn in range(4):
        known = len(told)
        while len(told) < known + chance.randrange(5, 40):
            await asyncio.sleep(0)
        promised = dict(told)
        after = await survivors(
            open_desk, vfs, tmp_path / str(turn), lambda _: bool(seed % 2) and chance.random() < 0.5
        )
        assert await after.store.check() == ()
        for id_, result in promised.items():
            view = await after.store.message(TENANT, id_)
            assert view is not None, id_
            if result is Result.SENT:
                assert view.recipients[0].result is Result.SENT
        await after.store.close()
    stop.set()
    await asyncio.gather(*workers)


async def test_a_mark_that_was_given_survives_a_power_loss(open_desk, vfs: FaultVfs, tmp_path: Path) -> None:
    desk = await open_desk(vfs=vfs.name)
    await desk.accept()
    claim = await desk.claim()
    assert await desk.mark(claim)
    after = await survivors(open_desk, vfs, tmp_path / "after", lambda _: False)
    (found,) = await after.store.open_attempts()
    assert (found.claim.attempt, found.is_marked) == (claim.attempt, True)


# -- processes killed

WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
from app.kit.clock import SystemClock
from app.queue.sqlite import SqliteStore
from tests.support.store_kit import Desk, letter

point, skip = sys.argv[2], int(sys.argv[3])

def reach(name):
    global skip
    if name == point:
        skip -= 1
        if skip < 0:
            os.kill(os.getpid(), signal.SIGKILL)

async def accepting(desk, number):
    while True:
        new = letter(desk.clock, id=f"msg_{os.getpid()}_{number}")
        await desk.store.accept(new)
        print("accepted", new.id, flush=True)
        number += 4

async def sending(desk):
    while True:
        for claim in (await desk.pick()).claims:
            print("claimed", claim.message, flush=True)
            if await desk.mark(claim):
                print("marked", claim.message, flush=True)
                await desk.settle(claim)
                print("settled", claim.message, flush=True)
        await asyncio.sleep(0)

async def main():
    clock = SystemClock()
    store = await SqliteStore.open(Path(sys.argv[1]), clock=clock, queue_limit=0, disk_floor=0, reach=reach)
    desk = Desk(store, clock, Path(sys.argv[1]))
    await asyncio.gather(*(accepting(desk, number) for number in range(4)), sending(desk))

asyncio.run(main())
"""


def killed(path: Path, point: str, skip: int, lines: int) -> list[list[str]]:
    """Let a process work until it reaches a point, or has said so many lines; kill it; return what it said."""
    said: list[list[str]] = []
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), point, str(skip)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if line.endswith("\n") and len(words) == 2:  # the last line may be cut
                said.append(words)
            if len(said) == lines:
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return said


POINTS = [f"{kind}-{when}-commit" for kind in ("accept", "pick", "mark", "settle") for when in ("before", "after")]


@pytest.mark.parametrize("turn", [*POINTS, "anywhere"])
async def test_a_killed_process_loses_nothing_that_it_told(open_desk, tmp_path: Path, turn: str) -> None:
    """Accepted stays accepted, marked stays marked, settled stays settled; the next start finds the rest open."""
    path = tmp_path / "postroom.db"
    said = await asyncio.to_thread(killed, path, turn, 12, 150 if turn == "anywhere" else 100_000)
    desk = await open_desk(path)
    assert await desk.store.check() == ()
    opened = {each.claim.message: each.is_marked for each in await desk.store.open_attempts()}
    state = {}
    for word, id_ in said:
        state[id_] = word
    assert state
    for id_, word in state.items():
        view = await desk.store.message(TENANT, id_)
        assert view is not None, id_
        if word == "claimed":
            assert id_ in opened
        if word == "marked":
            assert opened.get(id_, True)
            assert view.work in (Work.SENDING, Work.DONE)
        if word == "settled":
            assert view.work is Work.DONE
            assert id_ not in opened
    for each in await desk.store.open_attempts():
        result = Result.UNKNOWN if each.is_marked else Result.PENDING
        await desk.settle(each.claim, results=[result], reply=None)
    assert await desk.store.open_attempts() == ()
    assert await desk.store.check() == ()
