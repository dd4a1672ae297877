"""First aid: what operators may do to tenants and to the queue, and what delivery must know of it at once.

Values only; the door and the command line give them their form.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from app.delivery.audit import Audit
from app.delivery.engine import Engine
from app.delivery.pauses import Pauses
from app.kit.bells import Bells
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.metrics import Metrics
from app.mail.message import Result
from app.queue.first_aid import Deed, Filter, Moved, Paused, Tally
from app.queue.first_aid import FirstAid as Store
from app.queue.views import Page

_log = get_logger("first-aid")


class UnknownTenant(Exception):
    """There is no tenant of that name."""


@dataclass(frozen=True, slots=True)
class TenantView:
    """A tenant as shown to operators; ``paused`` None: its mail goes."""

    name: str
    paused: Paused | None


class FirstAid:
    """The operators' hands on one process's tenants and queue."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        pauses: Pauses,
        audit: Audit,
        bells: Bells,
        metrics: Metrics,
        clock: Clock,
        tenants: Collection[str],
    ) -> None:
        """Act over ``store``; ``tenants`` are those of the configuration."""
        self._store = store
        self._engine = engine
        self._pauses = pauses
        self._bells = bells
        self._metrics = metrics
        self._clock = clock
        self._tenants = tenants
        self.audit = audit

    def tenants(self) -> list[TenantView]:
        """Return every tenant, by name."""
        return [self._view(name) for name in sorted(self._tenants)]

    async def pause(self, name: str, who: str) -> TenantView:
        """Let a tenant's mail wait; it is accepted all the same. Raises ``UnknownTenant``, ``StoreError``."""
        self._check(name)
        await self._pauses.pause(name, who)
        _log.warning("tenant paused", tenant=name, by=who)
        return self._view(name)

    async def resume(self, name: str, who: str) -> TenantView:
        """Let a tenant's mail go again. Raises ``UnknownTenant``, ``StoreError``."""
        self._check(name)
        await self._pauses.resume(name, who)
        _log.warning("tenant resumed", tenant=name, by=who)
        return self._view(name)

    async def queue(self, asked: Filter, limit: int, after: int | None, before: int | None) -> Page:
        """Return a page of the messages of all tenants that are not done, newest first."""
        return await self._store.queue(asked, self._clock.now(), limit, after, before)

    async def change(self, deed: Deed, asked: Filter, who: str) -> Tally:
        """Hold, release or cancel what fits; how many did, and how many were changed. Raises ``StoreError``."""
        tally = await self._store.change(deed, asked, who, self._clock.now(), partial(self._follow, deed))
        _log.warning("queue changed", action=deed.value, by=who, matched=tally.matched, changed=tally.changed)
        return tally

    def _follow(self, deed: Deed, moved: Sequence[Moved]) -> None:
        """Tell delivery what left its lane or came back, and whoever waits for a message's end."""
        for each in moved:
            if each.left:
                self._engine.board.left(each.lane)
            if each.due_at is not None:
                self._engine.note(each.lane, each.tenant, each.sender_key, each.due_at)
            self._bells.ring(each.id)
        if deed is Deed.CANCEL:
            self._metrics.recipients(Result.CANCELED.value).inc(sum(each.canceled for each in moved))

    def _check(self, name: str) -> None:
        if name not in self._tenants:
            raise UnknownTenant(name)

    def _view(self, name: str) -> TenantView:
        return TenantView(name, self._pauses.now.get(name))
