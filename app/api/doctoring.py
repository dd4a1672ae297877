"""The doctor's route: examine a mailbox and tell every step. Admin keys only; it takes as long as the server does."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from app.api import fields
from app.api.drafting import read_model
from app.api.fields import checked
from app.api.query import read_query
from app.api.reader import JsonReader
from app.api.refusals import as_problems
from app.api.services import Examine
from app.api.views import encode
from app.delivery.operators import UnknownMailbox
from app.mail.address import NamedAddress
from app.web.call import call_of
from app.web.problems import Problem


class DoctorIn(BaseModel):
    """What to do beyond looking: whom to send a message, and whether to sign in on a parked mailbox, too."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)
    send_to: Annotated[
        NamedAddress | None, checked(fields.one_address), WithJsonSchema({"type": "string", "format": "email"})
    ] = None
    force: bool = False


class Doctoring:
    """The route of ``/v1/mailboxes/{name}/doctor``."""

    def __init__(self, examine: Examine) -> None:
        self._examine = examine
        self._reader = JsonReader()

    async def post(self, request: Request) -> Response:
        """Examine one mailbox; an empty body asks for the usual."""
        call_of(request).caller()
        read_query(request.scope["query_string"], ())
        asked = await self._asked(request)
        try:
            with as_problems():
                told = await self._examine(request.path_params["name"], send_to=asked.send_to, force=asked.force)
        except UnknownMailbox:
            raise Problem("not-found") from None
        return Response(encode(told), headers={"cache-control": "no-store"}, media_type="application/json")

    async def _asked(self, request: Request) -> DoctorIn:
        call = call_of(request)
        if not call.body.is_pending():
            return DoctorIn()
        return read_model(DoctorIn, await self._reader.document(call))
