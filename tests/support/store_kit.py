"""Builds what goes into a store, and plays the part of delivery in the store's stories."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from app.kit.clock import Clock
from app.mail.message import AttemptOutcome, Kind, Priority, Result, Work
from app.mail.reply import Phase, Reply
from app.queue.rows import (
    Accepted,
    Claim,
    LaneKey,
    NewMessage,
    NewRecipient,
    Picked,
    PickRequest,
    RecipientOutcome,
    Settled,
    Settlement,
)
from app.queue.sqlite import SqliteStore
from app.queue.views import MessageView

TENANT = "billing"
SENDER = "billing@contoso.com"
SENT = Reply(250, "2.0.0", "OK", Phase.DOT)
BUSY = Reply(451, "4.7.500", "Server busy", Phase.DOT)
REFUSED = Reply(550, "5.1.1", "No such user", Phase.RCPT)

_numbers = count(1)


def recipient(address: str = "ann@example.com", result: Result = Result.PENDING, **more: Any) -> NewRecipient:
    """A recipient, pending unless said otherwise."""
    return NewRecipient(address, address.lower(), address, more.pop("kind", Kind.TO), result, **more)


def letter(clock: Clock, *addresses: str, **more: Any) -> NewMessage:
    """A small message to ``addresses`` (one if none is given), created and due now, with a lifetime of three days."""
    now = more.pop("created_at", clock.now())
    number = next(_numbers)
    sender = more.pop("sender_key", SENDER)
    values: dict[str, Any] = {
        "id": f"msg_{number:026d}",
        "tenant": TENANT,
        "sender": f"Billing <{sender}>",
        "sender_key": sender,
        "subject": "Your invoice",
        "message_id": f"<{number}@contoso.com>",
        "created_at": now,
        "scheduled_at": None,
        "due_at": more.get("scheduled_at") or now,
        "expires_at": now + timedelta(hours=72),
        "date": more.get("scheduled_at") or now,
        "priority": Priority.NORMAL,
        "size": 64,
        "smtputf8": False,
        "tags": (),
        "metadata": {},
        "recipients": tuple(recipient(address) for address in addresses or ("ann@example.com",)),
        "content": [b"Subject: Your invoice\r\n\r\nHello\r\n"],
    }
    return NewMessage(**(values | more))


class Desk:
    """A store with its clock, and the moves of delivery in one word each."""

    def __init__(self, store: SqliteStore, clock: Clock, path: Path) -> None:
        self.store = store
        self.clock = clock
        self.path = path

    async def accept(self, *addresses: str, **more: Any) -> NewMessage:
        """Accept a letter and return it."""
        new = letter(self.clock, *addresses, **more)
        outcome = await self.store.accept(new)
        assert isinstance(outcome, Accepted), outcome
        return new

    async def lane(self, sender_key: str = SENDER, priority: Priority = Priority.NORMAL) -> LaneKey:
        """The lane of a sender, waiting mail or not."""
        for state in await self.store.lanes():
            if state.sender_key == sender_key and state.key.priority is priority:
                return state.key
        return LaneKey(1, priority)

    async def pick(self, lane: LaneKey | None = None, **more: Any) -> Picked:
        """Pick from a lane (the default sender's)."""
        lane = lane or await self.lane()
        values: dict[str, Any] = {"now": self.clock.now(), "boot": self.clock.boot(), "boot_id": self.clock.boot_id}
        return await self.store.pick(PickRequest(lane, "noreply", **(values | more)))

    async def claim(self, lane: LaneKey | None = None) -> Claim:
        """Pick one message; there must be one."""
        (claim,) = (await self.pick(lane)).claims
        return claim

    async def mark(self, claim: Claim) -> bool:
        """Commit the hand-over mark."""
        return await self.store.mark(claim.attempt, self.clock.now())

    async def settle(
        self,
        claim: Claim,
        outcome: AttemptOutcome = AttemptOutcome.SENT,
        results: Sequence[Result] | None = None,
        reply: Reply | None = SENT,
        **more: Any,
    ) -> Settled:
        """Settle a claim with the same reply for each of its recipients (all sent unless said otherwise)."""
        stated = results if results is not None else [Result.SENT] * len(claim.recipients)
        outcomes = tuple(
            RecipientOutcome(each.no, result, reply) for each, result in zip(claim.recipients, stated, strict=True)
        )
        values: dict[str, Any] = {
            "counted": outcome is not AttemptOutcome.ABORTED,
            "charged": len(claim.recipients),
            "at": self.clock.now(),
            "boot": self.clock.boot(),
        }
        return await self.store.settle(
            Settlement(
                attempt=claim.attempt,
                message=claim.message,
                outcome=outcome,
                reply=reply,
                recipients=outcomes,
                **(values | more),
            )
        )

    async def send(self, claim: Claim) -> Settled:
        """Mark and settle as sent."""
        assert await self.mark(claim)
        return await self.settle(claim)

    async def deferred(self, claim: Claim, seconds: float = 30) -> Settled:
        """Mark and settle as deferred for so long."""
        assert await self.mark(claim)
        return await self.settle(
            claim,
            AttemptOutcome.DEFERRED,
            [Result.PENDING] * len(claim.recipients),
            BUSY,
            charged=0,
            next_work=Work.DEFERRED,
            due_at=self.clock.now() + timedelta(seconds=seconds),
        )

    async def unknown(self, claim: Claim, **more: Any) -> Settled:
        """Mark and settle as unknown."""
        assert await self.mark(claim)
        return await self.settle(claim, AttemptOutcome.UNKNOWN, [Result.UNKNOWN] * len(claim.recipients), None, **more)

    async def view(self, new: NewMessage) -> MessageView:
        """The message as it is now."""
        view = await self.store.message(new.tenant, new.id)
        assert view is not None
        return view

    async def results(self, new: NewMessage) -> list[Result]:
        """The results of its recipients now."""
        return [each.result for each in (await self.view(new)).recipients]

    async def timeline(self, new: NewMessage) -> list[str]:
        """The words of its events, each recipient's with its address."""
        events = await self.store.events(new.tenant, new.id)
        assert events is not None
        return [f"{each.type} {each.recipient}" if each.recipient else each.type for each in events]
