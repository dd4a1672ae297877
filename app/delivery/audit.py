"""Notes what operators do, for those who ask later who it was."""

from __future__ import annotations

from app.kit.clock import Clock
from app.queue.first_aid import AuditPage, FirstAid


class Audit:
    """The audit of one store. What is done to the queue or to a tenant notes itself, in the same transaction."""

    def __init__(self, store: FirstAid, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(self, who: str, action: str, target: str, detail: str | None = None) -> None:
        """Note that ``who`` (a key's id, or ``cli:USER``) does ``action`` (``mailbox.park``) to ``target`` (a name).

        On disk when it returns; call it before the act, so that no act is ever without its row. ``detail`` is a
        sentence, never a secret. Raises ``StoreError``.
        """
        await self._store.note(who, action, target, detail, self._clock.now())

    async def page(self, limit: int, after: int | None, before: int | None) -> AuditPage:
        """Return a page of the audit, newest first."""
        return await self._store.audit(limit, after, before)
