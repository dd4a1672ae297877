"""Delivery at rest over a real store, and an operator beside it: for stories in which nothing reaches the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from app.building.sending import Sending, make_directory, make_sending
from app.building.sources import PasswordSource
from app.delivery.audit import Audit
from app.delivery.desk import Desk as Mailbox
from app.delivery.desk import MailboxSpec
from app.delivery.desks import Desks
from app.delivery.first_aid import FirstAid
from app.delivery.ledger import Budget, Ledger
from app.kit.bells import Bells
from app.kit.metrics import Metrics
from app.mail.message import Priority
from app.mail.senders import Limits
from app.queue.rows import Accepted
from app.queue.sqlite import SqliteStore
from app.settings import load
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import letter

SENDER = "noreply@contoso.test"
CONFIGURATION = f"""
[connections.hop]
host = "127.0.0.1"
auth = {{ method = "password", password = "secret-5" }}
[mailboxes.noreply]
address = "{SENDER}"
connection = "hop"
[tenants.billing]
senders = ["{SENDER}"]
[tenants.shop]
senders = ["{SENDER}"]
"""


class Nobody:
    """Sessions that nobody has asked for."""

    limit, open, busy, opened, features = 3, 0, 0, 0, None


class World:
    """An engine at rest over a real store, and an operator beside it."""

    def __init__(self, store: SqliteStore, clock: ManualClock, sending: Sending, mailbox: Mailbox) -> None:
        self.store, self.clock, self.sending, self.mailbox = store, clock, sending, mailbox
        self.engine = sending.engine
        self.metrics, self.bells = Metrics(CollectorRegistry(), "0"), Bells()
        self.audit = Audit(store.first_aid, clock)
        self.aid = FirstAid(
            store=store.first_aid,
            engine=self.engine,
            pauses=sending.pauses,
            audit=self.audit,
            bells=self.bells,
            metrics=self.metrics,
            clock=clock,
            tenants=("billing", "shop"),
        )

    async def accept(self, tenant: str = "billing", **more: Any) -> str:
        """Accept a message and tell delivery of it; its id."""
        new = letter(self.clock, tenant=tenant, sender_key=SENDER, **more)
        outcome = await self.store.accept(new)
        assert isinstance(outcome, Accepted)
        assert outcome.lane is not None
        self.engine.note(outcome.lane, tenant, SENDER, new.due_at)
        return new.id

    def waiting(self) -> dict[str, int]:
        """How many messages the board reckons with, by tenant."""
        return {lane.tenant: lane.waiting for lane in self.engine.board}

    def turns(self) -> list[str]:
        """Whose turn it is at the mailbox, in order."""
        turns = self.engine._turns.of(self.mailbox, Priority.NORMAL, self.clock.now(), self.clock.boot(), 100)
        return [lane.tenant for lane in turns]

    def outlook(self, tenant: str) -> Any:
        """The outlook of one more message of a tenant."""
        return self.sending.forecaster.outlook(tenant, SENDER, Priority.NORMAL, self.clock.now())


@asynccontextmanager
async def open_operators_world(folder: Path, clock: ManualClock) -> AsyncIterator[World]:
    """Open a store, and build delivery over it with one mailbox and two tenants."""
    (folder / "postroom.toml").write_text(CONFIGURATION)
    settings = load(folder / "postroom.toml", {})
    limits = Limits(messages_per_minute=30)
    spec = MailboxSpec("noreply", SENDER, "hop", "password", limits, frozenset(), PasswordSource(b"mark", ()))
    mailbox = Mailbox(spec, Nobody(), Ledger(Budget(30, 100)))
    store = await SqliteStore.open(folder / "store.db", clock=clock, queue_limit=0, disk_floor=0)
    desks = Desks([mailbox], clock.boot)
    metrics = Metrics(CollectorRegistry(), "0")
    sending = make_sending(settings, make_directory(settings.mailbox_plans()), desks, store, clock, Bells(), metrics)
    try:
        yield World(store, clock, sending, mailbox)
    finally:
        await store.close()
