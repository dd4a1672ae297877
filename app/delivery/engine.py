"""The engine: brings what is due to the mailboxes under their ledgers, from recovery at start to the drain at the end.

A mailbox never exceeds its sessions or its windows; a crash leaves nothing that ``start`` does not put right. Loops are
named, wake for a reason, and stop by taking nothing new and settling what runs. Decisions are made in ``board``,
``ledger``, ``desk``, ``routes`` and ``settling``; ``courier`` carries; here the work is handed out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

from app.delivery.board import Board
from app.delivery.courier import Courier
from app.delivery.desk import Desk
from app.delivery.desks import Desks
from app.delivery.doorkeeper import Doorkeeper
from app.delivery.gates import Gates
from app.delivery.parking import Parking
from app.delivery.recovery import Recovery
from app.delivery.reporter import Reporter
from app.delivery.rounds import Rounds
from app.delivery.routes import Turns
from app.delivery.senders import Senders
from app.delivery.timekeeper import Timekeeper
from app.kit.bells import Bells
from app.kit.clock import Clock
from app.mail.message import Priority, Work
from app.mail.transaction import ConnectTrouble, SignInRefused
from app.queue.contract import QueueStore, StoreError
from app.queue.rows import LaneKey, LaneState
from app.queue.views import MessageView

_EXPIRY_BATCH = 200
_TEND_SECONDS = 1.0
# The dispatch loop, which waits for nobody, gives a sign of life at least so often; so long without one is too long.
_LIFE_SIGN_SECONDS = 15.0
_STALLED_SECONDS = 60.0
# How long a wildcard's mailbox waits for another one's sessions to make way.
_CROWDED_SECONDS = 1.0
# How long senders wait whose turn a pass did not reach.
_NEXT_ROUND_SECONDS = 0.1
_LONG_PASS_SECONDS = 0.02


class Engine:
    """Delivery of one process, which owns every mailbox it is given."""

    def __init__(
        self,
        *,
        store: QueueStore,
        desks: Desks,
        board: Board,
        turns: Turns,
        gates: Gates,
        rounds: Rounds,
        courier: Courier,
        parking: Parking,
        doorkeeper: Doorkeeper,
        recovery: Recovery,
        senders: Senders,
        timekeeper: Timekeeper,
        reporter: Reporter,
        bells: Bells,
        clock: Clock,
        wake: asyncio.Event,
    ) -> None:
        self._store = store
        self.desks = desks
        self.board = board
        self._turns = turns
        self._gates = gates
        self._rounds = rounds
        self._courier = courier
        self._parking = parking
        self._doorkeeper = doorkeeper
        self._recovery = recovery
        self.senders = senders
        self._timekeeper = timekeeper
        self._reporter = reporter
        self._bells = bells
        self._clock = clock
        self._wake = wake
        self._takes_up_waiting = True
        self._workers: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._probing: set[str] = set()
        self._pulse = clock.boot()

    def __repr__(self) -> str:
        return f"<Engine {len(self._workers)} at work, {len(self._settling)} settling, {self.board!r}>"

    # ------------------------------------------------------------ from outside

    def note(self, key: LaneKey, tenant: str, sender_key: str, due: datetime) -> None:
        """Note that a message waits: just accepted, released, retried or rescheduled."""
        self.board.note(key, tenant, sender_key, due)
        self._wake.set()

    def changed(self, view: MessageView) -> None:
        """Note that a request moved a message: it waits again, or no longer."""
        if view.work in (Work.QUEUED, Work.DEFERRED) and view.due_at is not None:
            self.note(view.lane, view.tenant, view.sender_key, view.due_at)
        self._bells.ring(view.id)

    def is_alive(self) -> bool:
        """Whether the loops have shown life within the last minute."""
        return self._clock.boot() - self._pulse < _STALLED_SECONDS

    async def park(self, mailbox: str, reason: str, cause: str, cure: str) -> None:
        """Let a mailbox stand still by an operator's word."""
        await self._parking.park(self.desks[mailbox], reason, cause, cure)

    async def refused(self, mailbox: str, refusal: SignInRefused) -> None:
        """Park a mailbox whose sign-in was refused elsewhere than here; one that is parked stays as it is."""
        desk = self.desks[mailbox]
        if desk.parked is None:
            await self._doorkeeper.refused(desk, refusal)

    async def resume(self, mailbox: str, by: str) -> None:
        """Let a parked mailbox work again, and a connection be tried at once; ``by`` says for the log why."""
        await self._doorkeeper.resume(self.desks[mailbox], by)

    async def read_parked(self) -> None:
        """Read which mailboxes stand still; a changed credential releases one."""
        await self._recovery.read_parked()

    async def start(self, *, takes_up_waiting: bool = True) -> None:
        """Recover: end what a crash left open, rebuild the ledgers, read the parked mailboxes and the lanes.

        Without ``takes_up_waiting`` mail that waits is left alone and no parked mailbox is probed: only what is noted
        from now on goes.
        """
        self._takes_up_waiting = takes_up_waiting
        opened = await self._recovery.run()
        lanes = await self._waiting()
        for state in lanes:
            for due, count in state.dues:
                self.board.note(state.key, state.tenant, state.sender_key, due, more=count)
        self._reporter.recovered(opened, sum(state.waiting for state in lanes))

    async def run(self) -> None:
        """Run the loops until ``stop``; an unexpected end of one ends them all, loudly."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatch_loop(), name="delivery.dispatch")
            group.create_task(self._expiry_loop(), name="delivery.expiry")
            group.create_task(self._tend_loop(), name="delivery.tend")

    async def stop(self, timeout: float, *, may_record: bool = True) -> None:
        """Take nothing new, let transactions end for ``timeout`` seconds, then cut them; settle all, say QUIT.

        Without ``may_record``, the store having failed for good, nothing can be settled any more: all is cut at once,
        and the next start finds what was under way.
        """
        self._courier.is_stopping = True
        self._wake.set()
        await self._gone(self._workers, timeout if may_record else 0.0)
        if self._workers:
            for desk in self.desks.values():
                desk.sessions.abort()
            await self._gone(self._workers, 5.0 if may_record else 0.0)
            for task in self._workers:
                task.cancel()
            await self._gone(self._workers, 1.0)
        await self._gone(self._settling, 10.0 if may_record else 0.0)
        await asyncio.gather(*(desk.sessions.close(2.0) for desk in self.desks.values()))

    @staticmethod
    async def _gone(tasks: set[asyncio.Task[None]], timeout: float) -> None:
        if tasks:
            await asyncio.wait(set(tasks), timeout=timeout)

    # ------------------------------------------------------------ loops

    async def _dispatch_loop(self) -> None:
        while not self._courier.is_stopping:
            self._wake.clear()
            self._pulse = self._clock.boot()
            pause = self._assign()
            if (took := self._clock.boot() - self._pulse) > _LONG_PASS_SECONDS:
                await self._clock.sleep(took)  # where very many senders wait, as much again belongs to everybody else
            await self._clock.wait(self._wake, pause)

    def _assign(self) -> float:
        """Start workers where something is due and may go; return in how many seconds to look again."""
        now, boot = self._clock.now(), self._clock.boot()
        due = self.board.next_due(now)
        pause = _LIFE_SIGN_SECONDS if due is None else min(_LIFE_SIGN_SECONDS, (due - now).total_seconds())
        pause = min(pause, self._gates.opens_in(boot))
        desks, is_all = self._rounds.next(now)
        for desk in sorted(desks, key=lambda each: -each.ledger.free_share(boot)):
            pause = min(pause, self._staff(desk, now, boot))
        return max(0.001, pause if is_all else min(pause, _NEXT_ROUND_SECONDS))

    def _staff(self, desk: Desk, now: datetime, boot: float) -> float:
        """Start as many workers at a desk as have something to do; return when to look at it again."""
        blocked = desk.blocked_for(boot)
        if blocked > 0 and not desk.may_lend(boot):
            return blocked
        desk.widen(boot)
        pause = math.inf
        for priority in Priority:
            free = desk.free_sessions(boot, priority)
            lanes = self._turns.of(desk, priority, now, boot, desk.seeking + free)
            if not lanes:
                continue
            wait = desk.ledger.wait(boot, priority, 1, desk.reserve())
            if wait > 0:
                pause = min(pause, wait)
                continue
            if not self.desks.make_room(desk):
                return min(pause, _CROWDED_SECONDS)
            wanted = sum(max(1, lane.waiting) for lane in lanes) - desk.seeking
            for _ in range(min(wanted, free)):
                self._start_worker(desk)
        return pause

    async def _expiry_loop(self) -> None:
        while not self._courier.is_stopping:
            pause = 1.0
            try:
                for expired in await self._store.expire(self._clock.now(), _EXPIRY_BATCH):
                    if expired.has_left:
                        self.board.left(expired.lane)
                    self._reporter.expired(expired)
                    self._bells.ring(expired.message)
                following = await self._store.next_expiry()
                if following is not None:
                    pause = min(pause, max(0.01, (following - self._clock.now()).total_seconds()))
            except StoreError as problem:
                self._reporter.store_trouble(problem)
            await self._clock.sleep(pause)

    async def _tend_loop(self) -> None:
        is_stale = False
        while not self._courier.is_stopping:
            if (jump := await self._timekeeper.look()) is not None:
                await self._parking.move(self.desks.values(), jump)
                is_stale = True
            is_stale = is_stale and not await self._read_lanes()
            for desk in list(self.desks.values()):
                await desk.sessions.tend()
                await self._tend_parked(desk)
            await self._clock.wait(self._timekeeper.noticed, _TEND_SECONDS)

    async def _waiting(self) -> Sequence[LaneState]:
        return await self._store.lanes() if self._takes_up_waiting else ()

    async def _read_lanes(self) -> bool:
        """Read anew when each lane is due; whether the store could tell."""
        try:
            lanes = await self._waiting()
        except StoreError as problem:
            self._reporter.store_trouble(problem)
            return False
        for state in lanes:
            self.board.note(state.key, state.tenant, state.sender_key, state.next_due, more=0)
        self._wake.set()
        return True

    async def _tend_parked(self, desk: Desk) -> None:
        if not self._takes_up_waiting:
            return
        try:
            wants_probe = await self._doorkeeper.tend(desk)
        except StoreError as problem:
            self._reporter.store_trouble(problem)
            return
        if wants_probe and desk.spec.name not in self._probing:
            # Apart from the loop: a server that swallows packets must hold up nobody else.
            self._probing.add(desk.spec.name)
            self._track(self._probe(desk), f"delivery.probe.{desk.spec.name}")

    async def _probe(self, desk: Desk) -> None:
        try:
            await self._doorkeeper.probe(desk)
        finally:
            self._probing.discard(desk.spec.name)

    # ------------------------------------------------------------ workers

    def _start_worker(self, desk: Desk) -> None:
        desk.workers += 1
        desk.seeking += 1
        self._doorkeeper.begins(desk)
        self._track(self._work(desk), f"delivery.{desk.spec.name}")

    def _track(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._workers.add(task)
        task.add_done_callback(self._worker_ended)

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        self._wake.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._reporter.crashed(task.get_name(), problem)

    async def _work(self, desk: Desk) -> None:
        """Carry messages of one mailbox, one after the other, until there is nothing to carry."""
        seeking = True
        settling: asyncio.Task[None] | None = None
        try:
            while not self._courier.is_stopping and desk.may_lend(self._clock.boot()):
                async with desk.sessions.lend() as session:
                    desk.lent()
                    found = await self._courier.claim(desk)
                    if found is None:
                        return
                    seeking, desk.seeking = False, desk.seeking - 1
                    claim, slot = found
                    carried = await self._courier.carry(desk, session, claim, slot)
                if settling is not None:
                    await settling
                settling = asyncio.create_task(self._courier.settle(desk, claim, carried), name="delivery.settle")
                self._settling.add(settling)
                settling.add_done_callback(self._settled)
                # Let the mailbox feel the replies (parked, narrowed) before a session of it is lent again.
                await asyncio.sleep(0)
                seeking, desk.seeking = True, desk.seeking + 1
        except ConnectTrouble as trouble:
            self._doorkeeper.failed(desk, trouble)
        except SignInRefused as refusal:
            await self._doorkeeper.refused(desk, refusal)
        except Exception:
            # A fault of ours must not spin: the mailbox waits as after a failed connect, and the log has the trace.
            desk.failed("internal", "an internal error; see the log", self._clock.boot(), None)
            raise
        finally:
            desk.seeking -= seeking
            desk.workers -= 1

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._reporter.crashed(task.get_name(), problem)
