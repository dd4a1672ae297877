"""Pauses tenants: their mail is accepted and waits until somebody lets it go. A gate; survives restarts.

A pause holds from the moment it is asked for: no message is claimed after that. What is on the wire already goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime

from app.delivery.desk import Desk
from app.delivery.gates import Stop
from app.kit.clock import Clock
from app.queue.contract import StoreError
from app.queue.first_aid import FirstAid, Paused


class Pauses:
    """The paused tenants of one process; keeps the promise of ``gates.Gate``."""

    def __init__(self, store: FirstAid, clock: Clock, wake: Callable[[], None]) -> None:
        """Pause over a store; ``wake`` lets delivery look again."""
        self._store = store
        self._clock = clock
        self._wake = wake
        self._paused: dict[str, Paused] = {}

    def __repr__(self) -> str:
        return f"<Pauses {', '.join(sorted(self._paused)) or 'none'}>"

    @property
    def now(self) -> Mapping[str, Paused]:
        """The tenants that are paused now, by name."""
        return self._paused

    async def restore(self) -> None:
        """Read which tenants were paused when the last process ended."""
        self._paused = {each.tenant: each for each in await self._store.paused()}

    async def pause(self, tenant: str, who: str) -> None:
        """Pause a tenant; on disk when it returns. Raises ``StoreError``."""
        before, now = self._paused.get(tenant), self._clock.now()
        # Before it is on disk: every claim that was decided earlier is in the store's hands by then, and none follows.
        self._paused[tenant] = before or Paused(tenant, who, now)
        try:
            await self._store.pause(tenant, who, now)
        except StoreError:
            if before is None:
                self._paused.pop(tenant, None)
                self._wake()
            raise

    async def resume(self, tenant: str, who: str) -> None:
        """Pause a tenant no longer; on disk when it returns. Raises ``StoreError``."""
        await self._store.resume(tenant, who, self._clock.now())
        self._paused.pop(tenant, None)
        self._wake()

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:  # noqa: ARG002
        """Return why a tenant's mail waits; None: it is not paused."""
        if tenant not in self._paused:
            return None
        return Stop("tenant-paused", "an operator has paused this tenant's mail", needs_person=True)

    def opens_in(self, boot: float) -> float:  # noqa: ARG002 - the interface of a gate
        """Return never: only a person ends a pause."""
        return math.inf
