"""What is kept of senders: written with the settlement that tells it, read at start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import apsw
import pytest

from app.mail.message import AttemptOutcome, Result
from app.mail.reply import Phase, Reply
from app.queue.migrate import Migration, known_migrations, migrate
from app.queue.rows import Claim
from app.queue.sender_rows import FamilyRefusal, Held, RefusedAddress, SenderChange, SenderRow, Strikes
from tests.support.manual_clock import NOON, ManualClock
from tests.support.store_kit import REFUSED, SENDER, TENANT, Desk

Open = Callable[..., Awaitable[Desk]]
HELD = Held("send-as", "The mailbox may not send as this From address.", "Grant it.\ud83d", NOON)


def row_of(claim: Claim, **more: object) -> SenderRow:
    values = {"revision": 1, "is_proven": True, "last_success_at": NOON, "strikes": {"send-as": Strikes(1, NOON)}}
    return SenderRow(claim.lane.pair, claim.tenant, claim.sender_key, **{**values, **more})  # type: ignore[arg-type]


async def settled_with(desk: Desk, change: Callable[[Claim], SenderChange], *, fails: bool = False) -> Claim:
    """A message refused, with what that tells of its sender."""
    await desk.accept()
    claim = await desk.claim()
    assert await desk.mark(claim)
    more = {"reply": REFUSED, "charged": 0, "sender": change(claim)}
    await desk.settle(claim, AttemptOutcome.REJECTED, [Result.REJECTED], **more)
    return claim


async def test_a_sender_comes_back_as_it_was_kept(desk: Desk) -> None:
    claim = await settled_with(desk, lambda claim: SenderChange(row_of(claim, held=HELD)))
    (row,) = (await desk.store.senders.read(NOON)).senders
    expected = row_of(claim, held=replace(HELD, cure="Grant it.\\ud83d"))
    assert row == expected
    assert (row.tenant, row.sender_key) == (TENANT, SENDER)


@pytest.mark.parametrize(("second", "stands"), [(3, 3), (1, 2)])
async def test_of_two_writes_the_later_revision_stands(desk: Desk, second: int, stands: int) -> None:
    await settled_with(desk, lambda claim: SenderChange(row_of(claim, revision=2)))
    await settled_with(desk, lambda claim: SenderChange(row_of(claim, revision=second)))
    (row,) = (await desk.store.senders.read(NOON)).senders
    assert row.revision == stands


async def test_a_refusal_told_twice_is_one_and_a_day_later_forgotten(desk: Desk, clock: ManualClock) -> None:
    refusal = FamilyRefusal(7, "noreply", "send-as", NOON, "boot", 12.5)
    for _ in range(2):
        await settled_with(desk, lambda _claim: SenderChange(refusals=(refusal,)))
    assert (await desk.store.senders.read(NOON)).refusals == (refusal,)
    await clock.advance(25 * 3600)
    later = replace(refusal, attempt=8, at=clock.now())
    await settled_with(desk, lambda _claim: SenderChange(refusals=(later,)))
    assert (await desk.store.senders.read(clock.now())).refusals == (later,)


async def test_an_address_is_kept_until_its_time_is_over(desk: Desk, clock: ManualClock) -> None:
    reply = Reply(550, "5.1.10", "nobody", Phase.RCPT)
    address = RefusedAddress("contoso", "a@x.test", 1, reply, "cause", None, NOON + timedelta(hours=24))
    await settled_with(desk, lambda _claim: SenderChange(addresses=(address, replace(address, connection="other"))))
    again = replace(address, until=NOON + timedelta(hours=30), cure="cure")
    await settled_with(desk, lambda _claim: SenderChange(addresses=(again,)))
    read = (await desk.store.senders.read(NOON + timedelta(hours=25))).addresses
    assert read == (again,)


async def test_a_release_is_a_new_start_without_the_addresses_of_the_pair(desk: Desk) -> None:
    def change(claim: Claim) -> SenderChange:
        address = RefusedAddress("contoso", "a@x.test", claim.lane.pair, REFUSED, None, None, NOON + timedelta(hours=1))
        foreign = replace(address, key="b@x.test", pair=99)
        return SenderChange(row_of(claim, held=HELD), addresses=(address, foreign))

    claim = await settled_with(desk, change)
    fresh = row_of(claim, revision=2, is_proven=False, strikes={})
    await desk.store.senders.release(fresh)
    records = await desk.store.senders.read(NOON)
    assert records.senders == (fresh,)
    assert [each.key for each in records.addresses] == ["b@x.test"]


async def test_a_settlement_that_fails_keeps_nothing_of_its_sender(desk: Desk) -> None:
    """Either both are on disk or neither."""
    await desk.accept()
    claim = await desk.claim()
    broken = SenderChange(row_of(claim), refusals=(replace(FamilyRefusal(1, "m", "f", NOON, "b", 1.0), boot=None),))  # type: ignore[arg-type]
    with pytest.raises(Exception, match="NOT NULL"):
        await desk.settle(claim, AttemptOutcome.REJECTED, [Result.REJECTED], REFUSED, sender=broken)
    assert (await desk.store.senders.read(NOON)).senders == ()
    assert len(await desk.store.open_attempts()) == 1


async def test_what_is_kept_survives_the_store_being_closed(open_desk: Open, clock: ManualClock) -> None:
    first = await open_desk()
    claim = await settled_with(first, lambda claim: SenderChange(row_of(claim, held=replace(HELD, cure="Grant it."))))
    await first.store.close()
    second = await open_desk()
    (row,) = (await second.store.senders.read(clock.now())).senders
    assert row == row_of(claim, held=replace(HELD, cure="Grant it."))


def test_who_had_sent_before_is_proven_by_the_migration() -> None:
    db = apsw.Connection(":memory:")
    first, *rest = known_migrations()
    migrate(db, 0, [first])
    columns = "tenant, priority, expires_at, created_at, date_at, attempts, tries, unknowns, hold_unknown, size"
    more = "smtputf8, is_test, message_id, recipients, pending, unknown, expired, canceled"
    for seq, pair, sent, done in ((1, 4, 1, 50), (2, 4, 1, 60), (3, 5, 0, 70)):
        db.execute(
            f"INSERT INTO messages (seq, id, pair, work, done_at, sent, {columns}, {more}) "
            f"VALUES ({seq}, 'msg_{seq}', {pair}, 'done', {done}, {sent}, 1,1,9,1,1,1,1,0,0,1, 0,0,'<1@x>',1,0,0,0,0)"
        )
    later: list[Migration] = [first, *rest]
    migrate(db, 0, later)
    found = db.execute("SELECT pair, is_proven, last_success_at, strikes FROM senders").fetchall()
    assert found == [(4, 1, 60, "{}")]
