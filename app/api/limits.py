"""Tells a tenant's limits with every answer that is its own: what is left, and when there is room again.

``POST /v1/messages`` knows from its accept transaction how things stand and says so itself; the guard asks here for all
other answers, problems included. A store that cannot say takes nothing from the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from app.api.refusals import quota_headers
from app.api.services import Intake
from app.queue.contract import StoreError
from app.web.guard import Limits


def limits_told_by(intake: Intake) -> Limits:
    """Return what tells a tenant's limits as headers: none where it has none."""

    async def told(tenant: str) -> Mapping[str, str]:
        try:
            return quota_headers(await intake.quotas(tenant))
        except StoreError:
            return {}

    return lambda tenant: partial(told, tenant) if intake.is_limited(tenant) else None
