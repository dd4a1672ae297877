"""Routes that change a message: cancel, reschedule, retry, resolve. Each says truthfully whether it had its way."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.api.drafting import read_model
from app.api.query import read_query
from app.api.reader import JsonReader
from app.api.reading import message_id_of
from app.api.refusals import as_problems, within
from app.api.schemas import HORIZON, RescheduleIn, ResolveIn
from app.api.services import ApiServices
from app.api.views import encode, message_view
from app.queue.views import Change, MessageView
from app.web.call import call_of
from app.web.keys import CANCEL, SEND
from app.web.problems import Fault, Problem, invalid

_PATIENCE: Final = 10.0


class Acting:
    """The routes that change."""

    def __init__(self, services: ApiServices, reader: JsonReader) -> None:
        self._services = services
        self._reader = reader

    async def cancel(self, request: Request) -> Response:
        """Cancel every recipient that is still pending."""
        tenant, message, now = self._named(request, CANCEL)
        with as_problems():
            async with within(_PATIENCE):
                change = await self._services.store.cancel(tenant, message, now)
        return self._told(change, "message-not-cancelable", now)

    async def retry(self, request: Request) -> Response:
        """Queue rejected, expired and canceled recipients again."""
        tenant, message, now = self._named(request, SEND)
        with as_problems():
            async with within(_PATIENCE):
                change = await self._services.store.retry(tenant, message, now, now + self._services.lifetime())
        return self._told(change, "nothing-to-retry", now)

    async def resolve(self, request: Request) -> Response:
        """Settle every unknown recipient by a person's word."""
        tenant, message, now = self._named(request, SEND)
        word = read_model(ResolveIn, await self._reader.document(call_of(request)))
        with as_problems():
            async with within(_PATIENCE):
                change = await self._services.store.resolve(tenant, message, word.result == "sent", now)
        return self._told(change, "nothing-to-resolve", now)

    async def reschedule(self, request: Request) -> Response:
        """Move ``scheduled_at`` of a message no attempt of which has begun."""
        tenant, message, now = self._named(request, CANCEL)
        at = read_model(RescheduleIn, await self._reader.document(call_of(request))).scheduled_at
        if at > now + HORIZON:
            raise invalid([Fault("#/scheduled_at", "horizon", "is more than 30 days ahead")])
        with as_problems():
            async with within(_PATIENCE):
                view = await self._services.store.message(tenant, message)
                if view is None:
                    raise Problem("not-found")
                expires_at = self._expiry(view, max(at, now))
                change = await self._services.store.reschedule(tenant, message, at, expires_at, now)
        return self._told(change, "message-not-schedulable", now)

    def _named(self, request: Request, scope: str) -> tuple[str, str, datetime]:
        tenant = call_of(request).tenant(scope)
        read_query(request.scope["query_string"], ())
        return tenant, message_id_of(request), self._services.clock.now()

    def _expiry(self, view: MessageView, at: datetime) -> datetime:
        """Return when a message moved to ``at`` expires: an expiry of the caller's own stays, the usual one moves."""
        usual = max(view.scheduled_at or view.created_at, view.created_at) + self._services.lifetime()
        if view.expires_at == usual:
            return at + self._services.lifetime()
        if view.expires_at <= at:
            raise invalid([Fault("#/scheduled_at", "order", "is not before the message's expires_at")])
        return view.expires_at

    def _told(self, change: Change | None, refusal: str, now: datetime) -> Response:
        if change is None:
            raise Problem("not-found")
        if not change.done:
            raise Problem(change.reason or refusal)
        services = self._services
        services.changed(change.message)
        body = encode(message_view(change.message, services.forecast(change.message), now))
        return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")
