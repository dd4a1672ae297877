"""The operators' view of senders: every (tenant, From) pair, why one is held, and its release. Admin keys only."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api import fields
from app.api.drafting import read_model
from app.api.fields import checked
from app.api.query import address_key_of, read_query
from app.api.reader import JsonReader
from app.api.refusals import as_problems
from app.api.views import Json, encode, instant
from app.delivery.senders import SenderView, UnknownSender
from app.web.call import call_of
from app.web.problems import Problem


class Senders(Protocol):
    """What operators may see and do; ``app.delivery.senders.Senders`` keeps this promise."""

    def views(self) -> list[SenderView]:
        """Return every sender of whom something is known."""
        ...

    async def release(self, tenant: str, sender_key: str, by: str) -> SenderView:
        """Let a sender start afresh; raises ``UnknownSender``."""
        ...


class ReleaseIn(BaseModel):
    """Whom to release."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, validate_by_name=False)
    tenant: str
    sender: Annotated[str, checked(lambda value: address_key_of(fields.string(value)))] = Field(alias="from")


class SenderRoutes:
    """The routes of ``/v1/senders``."""

    def __init__(self, senders: Senders) -> None:
        self._senders = senders
        self._reader = JsonReader()

    async def list(self, request: Request) -> Response:
        """Tell every sender."""
        read_query(request.scope["query_string"], ())
        data = [sender_view(view) for view in self._senders.views()]
        return _json({"object": "list", "has_more": False, "data": data})

    async def release(self, request: Request) -> Response:
        """Let a sender start afresh; what it left waiting goes."""
        read_query(request.scope["query_string"], ())
        call = call_of(request)
        asked = read_model(ReleaseIn, await self._reader.document(call))
        try:
            with as_problems():
                view = await self._senders.release(asked.tenant, asked.sender, call.caller().key_id)
        except UnknownSender:
            raise Problem("not-found", "nothing is known of this tenant and address as a sender") from None
        return _json(sender_view(view))


def sender_view(view: SenderView) -> Json:
    """Return a sender as operators see it."""
    held = view.held
    return {
        "object": "sender",
        "tenant": view.tenant,
        "from": view.sender_key,
        "state": view.state,
        "held": None
        if held is None
        else {"reason": held.reason, "cause": held.cause, "cure": held.cure, "since": instant(held.since)},
        "last_success_at": instant(view.last_success_at),
        "refusals": [
            {"reason": family, "count": strikes.count, "last_at": instant(strikes.last_at)}
            for family, strikes in view.refusals
        ],
    }


def _json(value: object) -> Response:
    return Response(encode(value), headers={"cache-control": "no-store"}, media_type="application/json")
