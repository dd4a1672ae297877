"""The engine on a stage: real settings, real store on disk, real wire, the emulator as next hop, time that is moved.

``advance`` moves everything that has to do with time at once: the wall clock, the boot clock, the event loop's timers
(and with them every time-out of the wire) and the emulator's windows. ``jump_wall`` moves the wall clock alone, as an
administrator or NTP would. What happened is read from the database file by a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
from prometheus_client import CollectorRegistry, generate_latest

from app.building import sending as building
from app.building.desks import Workshop
from app.delivery.desk import Desk
from app.emulator import Account, Action, Emulator, Fault, Limits
from app.emulator.clock import MovableClock
from app.kit.bells import Bells
from app.kit.clock import SystemClock
from app.kit.metrics import Metrics
from app.mail.message import Kind, Priority, Work
from app.queue.rows import NewMessage, NewRecipient
from app.queue.sqlite import SqliteStore
from app.settings import load

SENDER = "noreply@contoso.test"
PASSWORD = "correct-horse-battery"
ADA, BOB, CYD = "ada@customer.test", "bob@customer.test", "cyd@customer.test"
_CHUNK = 256 * 1024
_CONFIGURATION = """
[delivery]
{delivery}
[connections.hop]
host = "127.0.0.1"
port = {port}
ca_file = "ca.pem"
profile = "plain"
{connection}
auth = {{ method = "password", password = "{password}" }}
[mailboxes.noreply]
address = "{sender}"
connection = "hop"
limits = {{ sessions = 3, messages_per_minute = 30, recipients_per_day = 10000, recipients_per_message = 500 }}
[tenants.demo]
senders = ["{sender}"]
on_unknown = "{on_unknown}"
"""


class StageClock(MovableClock):
    """The machine's clock with whatever was added to it; ``wall_ahead`` belongs to the wall clock alone."""

    wall_ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.wall_ahead

    def jump_wall(self, seconds: float) -> None:
        self.wall_ahead += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt as it stands in its row."""

    outcome: str | None
    counted: bool
    charged: int
    marked: bool
    reply: str | None
    trouble: str | None
    started_at: float
    ended_at: float | None


class Stage:
    """See the module's promise; made by ``on_stage``."""

    def __init__(self, folder: Path, emulator: Emulator, clock: StageClock, configuration: str) -> None:
        self.folder = folder
        self.emulator = emulator
        self.clock = clock
        self.configuration = configuration
        self.metrics = Metrics(CollectorRegistry(), "0")
        self.posted = 0
        self._loop = asyncio.get_running_loop()
        self._loop_ahead = 0.0
        real = self._loop.time
        self._loop.time = lambda: real() + self._loop_ahead  # type: ignore[method-assign]

    # ------------------------------------------------------------ begin and end

    async def raise_curtain(self) -> None:
        (self.folder / "ca.pem").write_bytes(self.emulator.ca_pem)
        (self.folder / "postroom.toml").write_text(self.configuration)
        settings = load(self.folder / "postroom.toml", {})
        plans = settings.mailbox_plans()
        self.store = await SqliteStore.open(self.folder / "store.db", clock=self.clock, queue_limit=0, disk_floor=0)
        workshop = Workshop(self.clock, self.metrics)
        workshop.apply(workshop.prepare(settings, plans))
        desks, directory = workshop.desks, building.make_directory(plans)
        self.sending = building.make_sending(settings, directory, desks, self.store, self.clock, Bells(), self.metrics)
        self.engine = self.sending.engine
        self.desk: Desk = desks["noreply"]
        await self.engine.start()
        self._running = asyncio.create_task(self.engine.run())

    async def fall_curtain(self) -> None:
        """End as a crash does: nothing more is settled, every connection is cut, the store is let go."""
        tasks = [self._running, *self.engine._workers, *self.engine._settling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.desk.sessions.abort()
        await self.desk.sessions.close(0.2)
        await self.store.close()

    async def crash_and_restart(self, between: Callable[[], None] = lambda: None) -> None:
        await self.fall_curtain()
        between()
        await self.raise_curtain()

    # ------------------------------------------------------------ doing

    async def post(
        self,
        *recipients: str,
        octets: int = 0,
        lifetime: float = 72 * 3600.0,
        priority: Priority = Priority.NORMAL,
        smtputf8: bool = False,
        due_in: float = 0.0,
    ) -> str:
        """Accept a message; ``octets`` of content beyond its head are staged as the API stages large ones."""
        self.posted += 1
        identity, now = f"msg_{self.posted}", self.clock.now()
        mid = f"<{self.posted}@contoso.test>"
        head = f"From: <{SENDER}>\r\nMessage-ID: {mid}\r\nSubject: {self.posted}\r\n\r\n.dot\r\n".encode()
        body = list(_filling(octets))
        if body:
            for no, chunk in enumerate((head, *body)):
                await self.store.stage(identity, no, chunk)
        due = now + timedelta(seconds=due_in)
        new = NewMessage(
            id=identity, tenant="demo", sender=SENDER, sender_key=SENDER, subject="", message_id=mid,
            created_at=now, scheduled_at=due if due_in else None, due_at=due,
            expires_at=due + timedelta(seconds=lifetime), date=due, priority=priority,
            size=len(head) + sum(map(len, body)) + 60, smtputf8=smtputf8, tags=(), metadata={},
            recipients=tuple(NewRecipient(each, each, each, Kind.TO) for each in recipients or (ADA,)),
            content=None if body else (head,),
        )  # fmt: skip
        accepted = await self.store.accept(new)
        self.engine.note(accepted.lane, "demo", SENDER, due)
        return identity

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self._loop_ahead += seconds
        self.clock.advance(seconds)
        await asyncio.sleep(0.005)

    async def until(self, condition: Callable[[], Any], what: str = "", limit: float = 5.0) -> None:
        """Wait in real time for something that needs no time to pass."""
        end = self._loop.time() - self._loop_ahead + limit
        while not condition():
            if self._loop.time() - self._loop_ahead > end:
                raise AssertionError(f"never: {what or condition}; {self.engine!r} {self.desk!r} {self.said()}")
            await asyncio.sleep(0.003)

    async def struck(self, times: int = 1) -> None:
        """Wait until faults have struck so often, and what they began has begun."""
        await self.until(lambda: self.emulator.counters.faults >= times, "the fault has struck")
        await asyncio.sleep(0.03)

    async def play(self, identity: str, *, stall: float = 0.0, limit: float = 8.0) -> str:
        """Let a message come to its end (done or held), moving time to whatever it waits for; return its work.

        ``stall``: seconds to let pass each time that a fault has struck.
        """
        struck = 0
        end = self._loop.time() - self._loop_ahead + limit
        while (work := self.work(identity)) not in ("done", "held") or self._is_busy():
            if self._loop.time() - self._loop_ahead > end:
                raise AssertionError(f"no end: {work} {self.tries(identity)} {self.desk!r} {self.said()}")
            faults = self.emulator.counters.faults
            if stall and faults > struck:
                struck = faults
                await asyncio.sleep(0.03)
                await self.advance(stall)
            elif work in ("queued", "deferred") and not self.desk.workers:
                knock = self.desk.trouble.retry_at - self.clock.boot() if self.desk.trouble else 0.0
                await self.advance(max(0.0, knock, self.due_in(identity)) + 0.01)
            await asyncio.sleep(0.005)
        return work

    def _is_busy(self) -> bool:
        return bool(self.engine._settling) or self.desk.workers > 0 or self.desk.sessions.busy > 0

    # ------------------------------------------------------------ reading

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        # The store's own library: a second one in the process would drop the first one's locks on the file.
        db = apsw.Connection(str(self.folder / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def work(self, identity: str) -> str:
        return str(self.rows("SELECT work FROM messages WHERE id = ?", identity)[0][0])

    def due_in(self, identity: str) -> float:
        """Seconds until a message is due."""
        ((due,),) = self.rows("SELECT due_at FROM messages WHERE id = ?", identity)
        return 0.0 if due is None else due / 1e6 - self.clock.now().timestamp()

    def tries(self, identity: str) -> list[Try]:
        found = self.rows(
            "SELECT outcome, counted, charged, marked_at, attempts.reply, trouble, started_at, ended_at FROM attempts "
            "JOIN messages ON messages.seq = message WHERE messages.id = ? ORDER BY number",
            identity,
        )
        return [
            Try(outcome, bool(counted), charged, marked is not None, _code(reply), trouble, began / 1e6,
                ended / 1e6 if ended is not None else None)
            for outcome, counted, charged, marked, reply, trouble, began, ended in found
        ]  # fmt: skip

    def results(self, identity: str) -> dict[str, str]:
        """The recipients by local part: the result, and the reply's codes where there is one."""
        found = self.rows(
            "SELECT address, result, recipients.reply FROM recipients JOIN messages ON messages.seq = message "
            "WHERE messages.id = ? ORDER BY no",
            identity,
        )
        return {
            address.partition("@")[0]: " ".join(filter(None, (result, _code(reply))))
            for address, result, reply in found
        }

    def causes(self, identity: str) -> list[str | None]:
        query = "SELECT cause FROM recipients JOIN messages ON messages.seq = message WHERE messages.id = ? ORDER BY no"
        return [cause for (cause,) in self.rows(query, identity)]

    def events(self, identity: str) -> list[str]:
        query = (
            "SELECT type FROM events JOIN messages ON messages.seq = message WHERE messages.id = ? ORDER BY events.id"
        )
        return [kind for (kind,) in self.rows(query, identity)]

    def said(self, session: int | None = None) -> list[str]:
        """What the remote heard."""
        heard = self.emulator.transcript
        return [line.what for line in heard if session is None or line.session == session]

    @property
    def sessions(self) -> int:
        """How many connections the remote has seen."""
        return self.said().count("<connected>")

    @property
    def dots(self) -> int:
        """How many final dots the remote has seen."""
        return sum(what.endswith("and the dot>") for what in self.said())

    @property
    def copies(self) -> list[tuple[str, ...]]:
        """The envelopes that the remote took, local parts only."""
        return [tuple(each.partition("@")[0] for each in message.rcpt_tos) for message in self.emulator.accepted]

    def failures(self) -> dict[str, float]:
        """``postroom_smtp_connect_failures_total`` by reason."""
        found = {}
        for line in generate_latest(self.metrics.registry).decode().splitlines():
            if line.startswith("postroom_smtp_connect_failures_total{"):
                labels, _, value = line.rpartition(" ")
                found[labels.partition('reason="')[2].partition('"')[0]] = float(value)
        return found


@asynccontextmanager
async def on_stage(
    folder: Path,
    *faults: Fault,
    limits: Limits | None = None,
    password: str = PASSWORD,
    on_unknown: str = "resend",
    delivery: str = "",
    connection: str = "",
) -> AsyncIterator[Stage]:
    """Raise the curtain over an engine and an emulator with ``faults`` on order."""
    clock = StageClock(SystemClock())
    async with Emulator([Account(SENDER, PASSWORD)], faults=faults, limits=limits, clock=clock) as emulator:
        text = _CONFIGURATION.format(
            port=emulator.port, sender=SENDER, password=password, on_unknown=on_unknown, delivery=delivery,
            connection=connection,
        )  # fmt: skip
        stage = Stage(folder, emulator, clock, text)
        await stage.raise_curtain()
        try:
            yield stage
        finally:
            with suppress(Exception):
                await stage.fall_curtain()


def _filling(octets: int) -> Iterable[bytes]:
    line = b"x" * 74 + b"\r\n"
    while octets > 0:
        yield line * (min(octets, _CHUNK) // len(line))
        octets -= _CHUNK


def _code(reply: str | None) -> str | None:
    """The codes of a stored reply."""
    if reply is None:
        return None
    told = json.loads(reply)
    code, enhanced = (told[0], told[1]) if isinstance(told, list) else (told["code"], told.get("enhanced"))
    return f"{code} {enhanced}" if enhanced else str(code)


__all__ = ["ADA", "BOB", "CYD", "PASSWORD", "SENDER", "Action", "Fault", "Stage", "Try", "Work", "on_stage"]
