"""Puts right at start what the last run left: parked mailboxes, clocks that jumped, open attempts, the ledgers.

An attempt without the hand-over mark was not taken and goes back to the queue, uncounted; one with the mark and without
an outcome is unknown. The ledgers are rebuilt from the attempt rows, so that no restart opens a window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import timedelta

from app.delivery.courier import Courier
from app.delivery.desks import Desks
from app.delivery.doorkeeper import Doorkeeper
from app.delivery.ledger import DAY
from app.delivery.parking import Parking
from app.delivery.senders import Senders
from app.delivery.timekeeper import Timekeeper
from app.kit.clock import Clock
from app.mail.verdict import judge_lost
from app.queue.contract import QueueStore
from app.queue.rows import LedgerRow

# A day, the hour by which a wall clock may have jumped, and the longest a transaction may take.
_LOOK_BACK = timedelta(seconds=DAY + 2 * 3600)


class Recovery:
    """See the module's promise."""

    def __init__(
        self,
        *,
        store: QueueStore,
        desks: Desks,
        courier: Courier,
        doorkeeper: Doorkeeper,
        parking: Parking,
        senders: Senders,
        timekeeper: Timekeeper,
        clock: Clock,
    ) -> None:
        self._store = store
        self._desks = desks
        self._courier = courier
        self._doorkeeper = doorkeeper
        self._parking = parking
        self._senders = senders
        self._timekeeper = timekeeper
        self._clock = clock

    async def read_parked(self) -> None:
        """Read which mailboxes stand still; a changed credential releases one."""
        await self._doorkeeper.restore()

    async def run(self) -> int:
        """Recover; return how many attempts were open. Raises ``StoreError``."""
        await self.read_parked()
        await self._senders.restore()
        if (jump := await self._timekeeper.start()) is not None:
            await self._parking.move(self._desks.values(), jump)
        opened = await self._store.open_attempts()
        self.rebuild(await self._store.ledger_rows(self._clock.now() - _LOOK_BACK))
        # Only now: an attempt still without a reply occupies the minute longer than one that has ended.
        for found in opened:
            judged = judge_lost(len(found.claim.recipients), was_marked=found.is_marked)
            trouble = "the process ended before the reply was recorded" if found.is_marked else "the process ended"
            settlement = self._courier.settlement(found.claim, judged, trouble, answered=False)
            await self._courier.record(settlement)
            if found.is_marked:
                self._senders.lost(found.claim)
            if (owner := self._desks.get(found.claim.mailbox)) is not None:
                owner.ledger.charge(self._clock.boot(), settlement.charged)
        return len(opened)

    async def rows_of(self, names: Set[str]) -> Sequence[LedgerRow]:
        """Return what the ledgers of mailboxes that come anew must know. Raises ``StoreError``."""
        if not names:
            return ()
        rows = await self._store.ledger_rows(self._clock.now() - _LOOK_BACK)
        return [row for row in rows if row.mailbox.partition("/")[0] in names]

    def rebuild(self, rows: Iterable[LedgerRow]) -> None:
        """Rebuild the ledgers of mailboxes that are new to this process."""
        now, boot = self._clock.now(), self._clock.boot()
        by_mailbox: dict[str, list[LedgerRow]] = defaultdict(list)
        for row in rows:
            by_mailbox[row.mailbox].append(row)
        for name, mine in by_mailbox.items():
            if (desk := self._desks.recall(name)) is not None:
                desk.ledger.restore(mine, boot_id=self._clock.boot_id, boot=boot, now=now)
