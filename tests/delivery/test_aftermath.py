"""What a transaction does to its mailbox, and where the reply speaks of all of Exchange, to its neighbours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from app.building.sources import PasswordSource
from app.delivery.aftermath import Aftermath
from app.delivery.desk import Desk, MailboxSpec
from app.delivery.ledger import Budget, Ledger
from app.delivery.parking import Parking
from app.delivery.reporter import Reporter
from app.kit.metrics import Metrics
from app.mail.message import Priority
from app.mail.replies import CATALOGUE
from app.mail.replies.operator import operator_rows
from app.mail.reply import Phase, Reply
from app.mail.senders import Limits
from app.mail.transaction import Fate, Replies
from app.mail.verdict import judge_transaction
from app.queue.sqlite import SqliteStore
from tests.support.manual_clock import ManualClock


class World:
    """Two mailboxes of one connection and one of another."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        reporter = Reporter(Metrics(CollectorRegistry(), "0"))
        self.clock, self.store = clock, store
        self.desks = {name: desk_of(name, name[0]) for name in ("a1", "a2", "b1")}
        self.aftermath = Aftermath(self.desks, Parking(store, clock, reporter, CATALOGUE), reporter, clock)

    async def dot(self, code: int, enhanced: str, text: str, rules=CATALOGUE) -> None:
        good = Reply(250, "2.1.0", "Ok", Phase.MAIL)
        bad = Reply(code, enhanced, text, Phase.DOT)
        replies = Replies(Fate.ANSWERED, good, (good,), Reply(354, None, "Go", Phase.DATA), bad)
        await self.aftermath.feel(self.desks["a1"], judge_transaction(replies, 1, rules), replies)


def desk_of(name: str, connection: str) -> Desk:
    spec = MailboxSpec(
        name, f"{name}@own.test", connection, "password", Limits(), frozenset({"own.test"}), PasswordSource(b"mark", ())
    )
    return Desk(spec, SimpleNamespace(open=0, busy=0, limit=3), Ledger(Budget(30, 1000)))


@pytest.fixture
async def world(tmp_path: Path):
    clock = ManualClock()
    store = await SqliteStore.open(tmp_path / "store.db", clock=clock, queue_limit=0, disk_floor=0)
    yield World(store, clock)
    await store.close()


async def test_a_plain_refusal_is_what_operators_see_last(world: World) -> None:
    await world.dot(550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")
    kept = world.desks["a1"].last_refusal
    assert kept is not None and kept.reply is not None and kept.reply.enhanced == "5.1.10" and kept.cure
    assert world.desks["a1"].parked is None and world.desks["a2"].last_refusal is None


async def test_an_external_quota_stops_external_recipients_of_the_whole_connection(world: World) -> None:
    await world.dot(550, "5.7.232", "Your message can't be sent because your tenant exceeded its daily limit")
    boot = world.clock.boot()
    assert [desk.is_external_full(boot) for desk in world.desks.values()] == [True, True, False]
    assert world.desks["a1"].ledger.wait_day(boot, Priority.NORMAL, 1) == 0


async def test_a_full_day_is_the_matter_of_one_mailbox(world: World) -> None:
    await world.dot(554, "5.2.0", "STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed")
    boot = world.clock.boot()
    waits = [desk.ledger.wait_day(boot, Priority.NORMAL, 1) > 0 for desk in world.desks.values()]
    assert waits == [True, False, False]


async def test_a_row_of_the_operator_may_park_the_connection_for_a_while(world: World) -> None:
    rows = operator_rows(
        [
            {
                "code": 451,
                "text": "maintenance",
                "outcome": "kept",
                "scope": "connection",
                "wait": "10m",
                "cause": "Work.",
            }
        ]
    )
    await world.dot(451, "4.3.2", "Maintenance tonight", (*rows, *CATALOGUE))
    until = world.clock.now() + timedelta(minutes=10)
    parked = [desk.parked.until if desk.parked else None for desk in world.desks.values()]
    assert parked == [until, until, None]
    assert {row.mailbox for row in await world.store.parked()} == {"a1", "a2"}
