"""The engine over a real store and a scripted next hop: recovery and life signs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.building.sending import make_directory, make_sending
from app.building.sources import PasswordSource
from app.delivery.desk import Desk, MailboxSpec
from app.delivery.desks import Desks
from app.delivery.ledger import Budget, Ledger
from app.kit.bells import Bells
from app.kit.clock import SystemClock
from app.kit.metrics import Metrics
from app.mail.address import parse_pattern
from app.mail.message import Kind, Priority
from app.mail.senders import Limits
from app.queue.rows import NewMessage, NewRecipient, ParkedRow, PickRequest
from app.queue.sqlite import SqliteStore
from app.settings import load

SENDER = "noreply@contoso.test"
CONFIGURATION = f"""
[connections.hop]
host = "127.0.0.1"
auth = {{ method = "password", password = "secret-5" }}
[mailboxes.noreply]
address = "{SENDER}"
connection = "hop"
[tenants.demo]
senders = ["{SENDER}"]
"""


class Unreachable:
    """Sessions of a server whose packets are swallowed: a lend never comes to an end."""

    limit, open, busy, opened, features = 1, 0, 0, 0, None
    asked = 0

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[None]:
        self.asked += 1
        await asyncio.Event().wait()
        yield

    async def tend(self) -> None: ...

    async def close(self, timeout: float) -> None: ...

    def abort(self) -> None: ...


class Late(SystemClock):
    """The machine's clock, moved on by hand."""

    ahead = 0.0

    def boot(self) -> float:
        return super().boot() + self.ahead


@asynccontextmanager
async def engine_over(folder: Path, clock: SystemClock, parked: ParkedRow | None = None):
    (folder / "postroom.toml").write_text(CONFIGURATION)
    settings = load(folder / "postroom.toml", {})
    plans = settings.mailbox_plans()
    spec = MailboxSpec(
        "noreply", SENDER, "hop", "password", Limits(messages_per_minute=30), frozenset(), PasswordSource(b"mark", ())
    )
    desk = Desk(spec, Unreachable(), Ledger(Budget(30, 100)))
    store = await SqliteStore.open(folder / "store.db", clock=clock, queue_limit=0, disk_floor=0)
    try:
        if parked is not None:
            fingerprint = spec.fingerprint(await store.fingerprint_key())
            await store.park(ParkedRow(**{**fields_of(parked), "fingerprint": fingerprint}))
        metrics = Metrics(CollectorRegistry(), "0")
        sending = make_sending(
            settings, make_directory(plans), Desks([desk], clock.boot), store, clock, Bells(), metrics
        )
        yield sending.engine, desk, store
    finally:
        await store.close()


def fields_of(row: ParkedRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__slots__}


async def test_a_probe_that_hangs_holds_up_no_life_sign_and_is_made_once(tmp_path: Path) -> None:
    clock = Late()
    since = datetime.now(UTC) - timedelta(hours=1)
    row = ParkedRow("noreply", "535 5.7.3", "cause", "cure", since, None, "", probe_at=since)
    async with engine_over(tmp_path, clock, row) as (engine, desk, _store):
        await engine.start()
        running = asyncio.create_task(engine.run())
        await asyncio.sleep(0.05)
        assert desk.sessions.asked == 1
        clock.ahead = 3600.0
        engine._wake.set()
        await asyncio.sleep(0.05)
        assert engine.is_alive()
        assert desk.sessions.asked == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("is_marked", [False, True])
async def test_what_a_crash_left_open_occupies_the_minute_five_seconds_longer(tmp_path: Path, is_marked: bool) -> None:
    clock = SystemClock()
    now = clock.now()
    pattern = parse_pattern(SENDER)
    assert not pattern.is_wildcard
    async with engine_over(tmp_path, clock) as (engine, desk, store):
        new = NewMessage(
            id="msg_1", tenant="demo", sender=SENDER, sender_key=SENDER, subject="", message_id="<1@contoso.test>",
            created_at=now, scheduled_at=None, due_at=now, expires_at=now + timedelta(hours=1), date=now,
            priority=Priority.NORMAL, size=10, smtputf8=False, tags=(), metadata={},
            recipients=(NewRecipient("a@b.test", "a@b.test", "a@b.test", Kind.TO),), content=(b"x\r\n",),
        )  # fmt: skip
        lane = (await store.accept(new)).lane
        picked = await store.pick(PickRequest(lane, "noreply", now, clock.boot(), clock.boot_id))
        if is_marked:
            assert await store.mark(picked.claims[0].attempt, now)
        before = clock.boot()
        await engine.start()
        assert desk.ledger.minute_used(before + 64.0) == 1
        assert desk.ledger.minute_used(clock.boot() + 66.0) == 0
        assert desk.ledger.day_used(clock.boot()) == is_marked
