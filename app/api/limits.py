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
        try:
            response = await endpoint(request)
        except Problem as problem:
            if "ratelimit" not in problem.headers:
                problem.headers.update(await _told(request, intake))
            raise
        if not any(name == b"ratelimit" for name, _ in response.raw_headers) and (told := await _told(request, intake)):
            response.headers.update(told)
        return response

    return answered


async def _told(request: Request, intake: Intake) -> dict[str, str]:
    found = call_of(request).found
    if found is None or found.tenant is None:
        return {}
    try:
        return quota_headers(await intake.quotas(found.tenant))
    except StoreError:
        return {}
