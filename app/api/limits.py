"""Tells a tenant's limits with every answer that is its own: what is left, and when there is room again.

``POST /v1/messages`` knows from its accept transaction how things stand and says so itself; here it is asked for all
other answers, problems included. A store that cannot say it takes nothing from the answer.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from app.api.refusals import quota_headers
from app.api.services import Intake
from app.queue.contract import StoreError
from app.web.call import call_of
from app.web.guard import Endpoint
from app.web.problems import Problem


def with_limits(endpoint: Endpoint, intake: Intake) -> Endpoint:
    """Return the endpoint, with the headers of the caller's limits on whatever it answers."""

    async def answered(request: Request) -> Response:
        found = call_of(request).found
        tenant = found.tenant if found is not None else None
        if tenant is None or not intake.is_limited(tenant):
            return await endpoint(request)
        try:
            response = await endpoint(request)
        except Problem as problem:
            if "ratelimit" not in problem.headers:
                problem.headers.update(await _told(tenant, intake))
            raise
        if "ratelimit" not in response.headers:
            response.headers.update(await _told(tenant, intake))
        return response

    return answered


async def _told(tenant: str, intake: Intake) -> dict[str, str]:
    try:
        return quota_headers(await intake.quotas(tenant))
    except StoreError:
        return {}
