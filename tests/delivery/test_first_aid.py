"""First aid and delivery: a paused tenant's mail waits and says so, and what operators move is known at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.delivery.first_aid import UnknownTenant
from app.delivery.operators import Operators, UnknownMailbox
from app.delivery.pauses import Pauses
from app.mail.message import Work
from app.queue.contract import StoreError
from app.queue.first_aid import Deed, Filter, Tally
from tests.support.manual_clock import ManualClock
from tests.support.operators_world import SENDER, World, open_operators_world

WHO = "4Tn2kQ9xWb7d"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_operators_world(tmp_path, ManualClock()) as opened:
        yield opened


async def test_a_paused_tenants_mail_waits_and_says_so(world: World) -> None:
    """It has no turn and no estimate until somebody lets it go; the others do not notice."""
    await world.accept("billing")
    await world.accept("shop")
    told = await world.aid.pause("billing", WHO)
    assert told.paused is not None
    assert told.paused.who == WHO
    assert world.turns() == ["shop"]
    outlook = world.outlook("billing")
    assert (outlook.send_at, outlook.code) == (None, "tenant-paused")
    assert world.outlook("shop").code is None
    told = await world.aid.resume("billing", WHO)
    assert told.paused is None
    assert sorted(world.turns()) == ["billing", "shop"]
    assert world.outlook("billing").send_at is not None


async def test_a_paused_tenants_mail_is_not_reckoned_before_others(world: World) -> None:
    """An estimate is about what will go."""
    for _ in range(40):
        await world.accept("billing")
    behind = world.outlook("shop").send_at
    await world.aid.pause("billing", WHO)
    assert world.outlook("shop").send_at < behind


async def test_a_resumed_tenant_is_looked_at_at_once(world: World) -> None:
    """The loop that hands work out is woken."""
    await world.aid.pause("billing", WHO)
    world.engine._wake.clear()
    await world.aid.resume("billing", WHO)
    assert world.engine._wake.is_set()


async def test_pauses_are_read_again_at_a_start(world: World) -> None:
    """What was paused stays paused."""
    await world.aid.pause("billing", WHO)
    again = Pauses(world.store.first_aid, world.clock, lambda: None)
    assert again.stop("billing", SENDER, world.mailbox, world.clock.now(), 0.0) is None
    await again.restore()
    stop = again.stop("billing", SENDER, world.mailbox, world.clock.now(), 0.0)
    assert stop is not None
    assert (stop.code, stop.needs_person, repr(again)) == ("tenant-paused", True, "<Pauses billing>")


async def test_a_pause_that_the_store_does_not_take_is_none(world: World) -> None:
    """Neither in memory nor in the answer."""
    await world.store.close()
    with pytest.raises(StoreError):
        await world.aid.pause("billing", WHO)
    assert world.sending.pauses.now == {}


async def test_delivery_knows_at_once_what_was_held_and_released(world: World) -> None:
    """The board counts what waits, and who waits for the end of a message is woken."""
    for _ in range(3):
        await world.accept("billing")
    message = await world.accept("shop")
    with world.bells.listen(message) as bell:
        assert await world.aid.change(Deed.HOLD, Filter(tenant="shop"), WHO) == Tally(1, 1)
        async with asyncio.timeout(1):
            await bell.wait()
    assert world.waiting() == {"billing": 3, "shop": 0}
    world.engine._wake.clear()
    await world.aid.change(Deed.RELEASE, Filter(tenant="shop"), WHO)
    assert world.waiting() == {"billing": 3, "shop": 1}
    assert world.engine._wake.is_set()


async def test_canceled_recipients_are_counted(world: World) -> None:
    """In the figures as everywhere."""
    await world.accept("billing", scheduled_at=world.clock.now() + timedelta(hours=1))
    await world.accept("billing")
    assert await world.aid.change(Deed.CANCEL, Filter(tenant="billing"), WHO) == Tally(2, 2)
    assert world.waiting() == {"billing": 0}
    assert world.metrics.recipients("canceled")._value.get() == 2
    assert (await world.store.counts()).by_work[Work.DONE] == 2


async def test_only_tenants_of_the_configuration_are_paused(world: World) -> None:
    """A slip of the pen is told, not kept."""
    for act in (world.aid.pause, world.aid.resume):
        with pytest.raises(UnknownTenant):
            await act("biling", WHO)
    assert [(view.name, view.paused) for view in world.aid.tenants()] == [("billing", None), ("shop", None)]
    assert (await world.audit.page(10, None, None)).rows == ()


async def test_a_mailbox_that_is_parked_or_resumed_stands_in_the_audit(world: World) -> None:
    """With who did it; a mailbox that does not exist leaves nothing."""
    operators = Operators(world.engine, world.audit, world.clock)
    await operators.park("noreply", WHO)
    await operators.resume("noreply", "cli:root")
    with pytest.raises(UnknownMailbox):
        await operators.park("other", WHO)
    rows = (await world.audit.page(10, None, None)).rows
    assert [(row.who, row.action, row.target) for row in rows] == [
        ("cli:root", "mailbox.resume", "noreply"),
        (WHO, "mailbox.park", "noreply"),
    ]
