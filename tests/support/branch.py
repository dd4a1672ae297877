"""The whole service in this process, whose mailboxes sign in with tokens of one app, towards an emulator.

As ``house``, with what a wildcard and a reload need besides: the token loops run, and ``change`` reads the
configuration again as the running service does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.building.reloading import Reloader, TokenLoops
from app.building.service import build
from app.emulator import Account, Emulator, Fault
from app.emulator.clock import MovableClock
from app.emulator.entra import TokenFault
from app.emulator.tokens import App
from app.kit.clock import SystemClock
from app.settings import load
from app.web.state import Phase
from tests.support.house import House

APP = App(client_id="the-app", secrets=("the-right-secret",))
_AUTH = (
    'auth = {{ method = "client-secret", directory = "contoso.test", client_id = "the-app", '
    'client_secret_file = "secret", authority = "http://127.0.0.1:{port}" }}'
)


class Branch(House):
    """See the module's promise. ``mailboxes`` are ``NAME = ADDRESS``, all on the connection ``hop``."""

    def __init__(self, folder: Path, emulator: Emulator, clock: MovableClock, mailboxes: dict[str, str]) -> None:
        super().__init__(folder, emulator, clock)
        (folder / "secret").write_text(APP.secrets[0])
        text = self.file.read_text()
        head, _, rest = text.partition("auth = {")
        tenants = rest[rest.index("[tenants.") :]
        boxes = "".join(
            f'[mailboxes.{name}]\naddress = "{address}"\nconnection = "hop"\n' for name, address in mailboxes.items()
        )
        self.file.write_text(f"{head}{_AUTH.format(port=emulator.http_port)}\n{boxes}{tenants}")

    @property
    def file(self) -> Path:
        return self.folder / "postroom.toml"

    async def open(self) -> None:
        service = self.service = await build(load(self.file, {}), clock=self.clock)
        for source in service.workshop.tokens.values():
            await source.inspect()
        await service.engine.start()
        self._running = asyncio.create_task(service.engine.run())
        service.state.enter(Phase.SERVING)
        self.token_loops = TokenLoops()
        self.token_loops.start(tuple(service.workshop.tokens.values()))
        self.reloader = Reloader(
            config=self.file,
            load=lambda: load(self.file, {}),
            settings=service.settings,
            workshop=service.workshop,
            adopt=service.adopt,
            recovery=service.sending.recovery,
            doorkeeper=service.sending.doorkeeper,
            token_loops=self.token_loops,
            metrics=service.metrics,
            clock=service.clock,
            expiries=service.sending.expiries,
            asked=asyncio.Event(),
        )

    async def crash(self) -> None:
        await self.token_loops.stop()
        await super().crash()

    async def change(self, edit: Callable[[str], str]) -> bool:
        """Write another configuration and let it be read; whether it is in force."""
        self.file.write_text(edit(self.file.read_text()))
        return await self.reloader.reload()

    @staticmethod
    def app(**changes: Any) -> App:
        """The app with changes."""
        return replace(APP, **changes)

    def admit(self, *patterns: str) -> None:
        """Let tokens issued from now on admit to these mailboxes only; those issued before are good no more."""
        self.emulator.state.tokens.revoke()
        self.emulator.state.tokens.register(replace(APP, mailboxes=patterns))

    @property
    def refused(self) -> int:
        """How many sign-ins the server has refused."""
        return self.emulator.counters.auth_failed

    async def parked(self, name: str) -> dict[str, Any] | None:
        """Why a mailbox stands still."""
        return (await self.ask("GET", f"/v1/mailboxes/{name}", "admin")).json()["parked"]

    async def waits(self, posted: dict[str, Any], *codes: str) -> dict[str, Any]:
        """Wait until a message waits for one of these."""

        async def found() -> Any:
            message = await self.message(posted)
            return message if (message["waiting_for"] or {}).get("code") in codes else None

        return await self.until(found, f"never {codes}")


@asynccontextmanager
async def open_branch(
    folder: Path,
    *faults: Fault | TokenFault,
    mailboxes: dict[str, str],
    allowed: Sequence[str] = ("*@contoso.test",),
) -> AsyncIterator[Branch]:
    """Open a service and an emulator whose app may sign in as ``allowed``."""
    clock = MovableClock(SystemClock())
    app = replace(APP, mailboxes=tuple(allowed))
    async with Emulator([Account("*@contoso.test")], faults=faults, apps=[app], clock=clock) as emulator:
        branch = Branch(folder, emulator, clock, mailboxes)
        await branch.open()
        try:
            yield branch
        finally:
            await branch.crash()
