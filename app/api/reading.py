"""GET routes: one message, a page of them, a timeline, the content. A tenant sees its own; all else is not found."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.query import cursor_of, read_list_query, read_query
from app.api.refusals import as_problems, within
from app.api.services import ApiServices
from app.api.views import encode, event_view, listing, message_view, own_addresses
from app.kit.ids import is_id
from app.mail.compose import date_line
from app.queue.views import MessageView
from app.web.call import call_of
from app.web.keys import CONTENT, READ
from app.web.problems import Problem

# How long the store may take for a read.
_PATIENCE = 10.0
_UNAVAILABLE = "storage-unavailable"


def message_id_of(request: Request) -> str:
    """Return the id in the path; what has not its shape is not found without asking the store."""
    message = str(request.path_params["id"])
    if not is_id(message, "msg"):
        raise Problem("not-found")
    call_of(request).message_id = message
    return message


class Reading:
    """The GET routes."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def message(self, request: Request) -> Response:
        """Tell one message."""
        view = await self._view(request, READ)
        services = self._services
        return _json(message_view(view, services.forecast(view), services.clock.now()))

    async def messages(self, request: Request) -> Response:
        """Tell a page of messages, newest first."""
        services = self._services
        tenant = call_of(request).tenant(READ)
        now = services.clock.now()
        query = read_list_query(request.scope["query_string"], tenant, now)
        with as_problems():
            async with within(_PATIENCE, _UNAVAILABLE):
                page = await services.store.messages(query)
        data = [message_view(view, services.forecast(view), now) for view in page.messages]
        return _json(listing(data, cursor_of(page.next), cursor_of(page.previous)))

    async def events(self, request: Request) -> Response:
        """Tell a message's timeline, oldest first."""
        tenant = call_of(request).tenant(READ)
        read_query(request.scope["query_string"], ())
        message = message_id_of(request)
        with as_problems():
            async with within(_PATIENCE, _UNAVAILABLE):
                events = await self._services.store.events(tenant, message)
                view = await self._services.store.message(tenant, message)
        if events is None or view is None:
            raise Problem("not-found")
        own = own_addresses(view)
        return _json(listing([event_view(event, own) for event in events], None, None))

    async def content(self, request: Request) -> Response:
        """Tell a message's content as it goes to the wire, while it is kept."""
        view = await self._view(request, CONTENT)
        if view.content_erased:
            raise Problem("content-erased", status=410)
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        chunks = self._services.store.content(view.id)
        with as_problems():
            async with within(_PATIENCE, _UNAVAILABLE):
                first = await anext(chunks, None)
        if first is None:
            raise Problem("content-erased", status=410)
        # The Date line is kept beside the content: the later of acceptance and scheduled_at.
        date = max(view.created_at, view.scheduled_at or view.created_at)
        octets = _joined(date_line(date) + first, chunks)
        return StreamingResponse(octets, headers=headers, media_type="message/rfc822")

    async def _view(self, request: Request, scope: str) -> MessageView:
        tenant = call_of(request).tenant(scope)
        read_query(request.scope["query_string"], ())
        message = message_id_of(request)
        with as_problems():
            async with within(_PATIENCE, _UNAVAILABLE):
                view = await self._services.store.message(tenant, message)
        if view is None:
            raise Problem("not-found")
        return view


async def _joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def _json(value: object) -> Response:
    return Response(encode(value), headers={"cache-control": "no-store"}, media_type="application/json")
