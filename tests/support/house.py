"""The whole service in this process, towards an emulator, on a clock that is moved: for stories that need every door.

``crash_and_restart`` ends it as a crash does and builds it anew over the same files. Tenants hold a key each.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from app.building.service import Service, build
from app.emulator import Account, Emulator, Fault, Limits
from app.emulator.clock import MovableClock
from app.kit.clock import SystemClock
from app.settings import load
from app.web.keys import new_key
from app.web.state import Phase

MAILBOX = "noreply@contoso.test"
_PASSWORD = "correct-horse-battery"
_TENANTS = ("billing", "shop")
_CONFIGURATION = """
[server]
admin_keys = [{{ id = "{admin.id}", hash = "{admin.hash}" }}]
[store]
url = "sqlite:///postroom.db"
disk_floor = "1MB"
[delivery]
jitter = 0.0
[connections.hop]
host = "127.0.0.1"
port = {port}
ca_file = "ca.pem"
auth = {{ method = "password", password = "{password}" }}
[mailboxes.noreply]
address = "{mailbox}"
connection = "hop"
send_as = ["*@contoso.test"]
"""
_TENANT = """
[tenants.{name}]
keys = [{{ id = "{key.id}", hash = "{key.hash}" }}]
senders = ["*@contoso.test"]
"""


class House:
    """See the module's promise; made by ``open_house``."""

    def __init__(self, folder: Path, emulator: Emulator, clock: MovableClock) -> None:
        self.folder = folder
        self.emulator = emulator
        self.clock = clock
        rng = random.Random(11)
        self.keys = {name: new_key(False, rng) for name in (*_TENANTS, "admin")}
        (folder / "ca.pem").write_bytes(emulator.ca_pem)
        text = _CONFIGURATION.format(
            admin=self.keys["admin"], port=emulator.port, password=_PASSWORD, mailbox=MAILBOX
        )  # fmt: skip
        text += "".join(_TENANT.format(name=name, key=self.keys[name]) for name in _TENANTS)
        (folder / "postroom.toml").write_text(text)

    async def open(self) -> None:
        self.service: Service = await build(load(self.folder / "postroom.toml", {}), clock=self.clock)
        await self.service.engine.start()
        self._running = asyncio.create_task(self.service.engine.run())
        self.service.state.enter(Phase.SERVING)

    async def crash(self) -> None:
        """End as a crash does: nothing more is settled, every connection is cut, the store is let go."""
        engine = self.service.engine
        tasks = [self._running, *engine._workers, *engine._settling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for desk in engine.desks.values():
            desk.sessions.abort()
            await desk.sessions.close(0.2)
        await self.service.store.close()

    async def crash_and_restart(self) -> None:
        await self.crash()
        await self.open()

    async def grant(self, *patterns: str) -> None:
        """Let the mailbox send as these, besides itself; sessions that know otherwise end."""
        self.emulator.accounts.add(Account(MAILBOX, _PASSWORD, patterns))
        await self.emulator.cut_sessions()

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once for the service and the emulator; sessions of before are too old then."""
        self.clock.advance(seconds)
        self.service.engine._wake.set()
        await asyncio.sleep(0.01)

    # -- the doors

    async def ask(self, method: str, path: str, key: str, **more: Any) -> httpx.Response:
        door = self.service.management if key == "admin" else self.service.api
        headers = {"authorization": f"Bearer {self.keys[key].text}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(door), base_url="http://postroom.test", headers=headers
        ) as client:
            return await client.request(method, path, **more)

    async def post(self, sender: str, *to: str, tenant: str = "billing") -> dict[str, Any]:
        """Send a letter; it must be taken in."""
        letter = {"from": sender, "to": list(to or ("ann@customer.test",)), "subject": "Hello", "text": "Hello"}
        answer = await self.ask("POST", "/v1/messages", tenant, json=letter)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def message(self, posted: dict[str, Any], tenant: str = "billing") -> dict[str, Any]:
        return (await self.ask("GET", f"/v1/messages/{posted['id']}", tenant)).json()

    async def status(self, posted: dict[str, Any], *wanted: str, tenant: str = "billing") -> dict[str, Any]:
        """Wait, in real time, until a message has one of these statuses; return it."""
        return await self.until(lambda: self._has_status(posted, wanted, tenant), f"never {wanted}")

    async def _has_status(self, posted: dict[str, Any], wanted: tuple[str, ...], tenant: str) -> Any:
        message = await self.message(posted, tenant)
        return message if message["status"] in wanted else None

    async def until(self, condition: Callable[[], Any], what: str = "", limit: float = 5.0) -> Any:
        """Wait in real time for something that needs no time to pass; return what ``condition`` gave."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            if loop.time() > end:
                raise AssertionError(f"{what or condition}: {self.service.engine!r} {self.service.engine.senders!r}")
            await asyncio.sleep(0.02)

    async def senders(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What operators see of the senders, by tenant and address."""
        told = (await self.ask("GET", "/v1/senders", "admin")).json()
        return {(each["tenant"], each["from"]): each for each in told["data"]}


@asynccontextmanager
async def open_house(folder: Path, *faults: Fault, limits: Limits | None = None) -> AsyncIterator[House]:
    """Open a service and an emulator with ``faults`` on order; the mailbox may send as itself alone."""
    clock = MovableClock(SystemClock())
    accounts = [Account(MAILBOX, _PASSWORD)]
    async with Emulator(accounts, faults=faults, limits=limits, clock=clock) as emulator:
        house = House(folder, emulator, clock)
        await house.open()
        try:
            yield house
        finally:
            await house.crash()
