"""The operators' routes: see the mailboxes, let one stand still, let it work again. Admin keys only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.api.query import acting_key, read_query
from app.api.refusals import as_problems
from app.api.services import Operators
from app.api.views import Json, encode, instant, reply_view
from app.delivery.operators import MailboxView, SignIn, UnknownMailbox
from app.web.problems import Problem

_DEEDS: Final = ("/park", "/resume", "/doctor")


class Mailboxes:
    """The routes of ``/v1/mailboxes``."""

    def __init__(self, operators: Operators) -> None:
        self._operators = operators

    async def list(self, request: Request) -> Response:
        """Tell every mailbox."""
        read_query(request.scope["query_string"], ())
        data = [mailbox_view(view) for view in self._operators.mailboxes()]
        return _json({"object": "list", "has_more": False, "data": data})

    async def get(self, request: Request) -> Response:
        """Tell one mailbox."""
        read_query(request.scope["query_string"], ())
        name = request.path_params["name"]
        with _known():
            if name.endswith(_DEEDS):  # a name may have slashes, so the router takes a deed for the end of one
                raise Problem("method-not-allowed", headers={"allow": "POST"})
            return _json(mailbox_view(self._operators.mailbox(name)))

    async def park(self, request: Request) -> Response:
        """Let a mailbox stand still."""
        with _known(), as_problems():
            return _json(mailbox_view(await self._operators.park(request.path_params["name"], acting_key(request))))

    async def resume(self, request: Request) -> Response:
        """Let a mailbox work again."""
        with _known(), as_problems():
            return _json(mailbox_view(await self._operators.resume(request.path_params["name"], acting_key(request))))


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except UnknownMailbox:
        raise Problem("not-found", "there is no mailbox of that name") from None


def mailbox_view(view: MailboxView) -> Json:
    """Return a mailbox as operators see it."""
    parked, refusal = view.parked, view.last_refusal
    return {
        "name": view.name,
        "address": view.address,
        "state": view.state,
        "parked": None
        if parked is None
        else {
            "reason": parked.reason,
            "cause": parked.cause,
            "cure": parked.cure,
            "since": instant(parked.since),
            "until": instant(parked.until),
        },
        "sign_in": _sign_in(view.sign_in),
        "sessions": {"open": view.sessions_open, "busy": view.sessions_busy, "limit": view.sessions_limit},
        "minute": {"used": view.minute[0], "limit": view.minute[1]},
        "day": {"used": view.day[0], "limit": view.day[1], "forecast_at": instant(view.day_forecast_at)},
        "last_success_at": instant(view.last_success_at),
        "last_refusal": None
        if refusal is None
        else {
            "at": instant(refusal.at),
            "reply": reply_view(refusal.reply),
            "cause": refusal.cause,
            "cure": refusal.cure,
        },
    }


def _sign_in(sign_in: SignIn) -> Json:
    told: Json = {"method": sign_in.method}
    if sign_in.days_left is not None:
        told["days_left"] = sign_in.days_left
    if sign_in.expires_at is not None:
        told["expires_at"] = instant(sign_in.expires_at)
    return told


def _json(value: object) -> Response:
    return Response(encode(value), headers={"cache-control": "no-store"}, media_type="application/json")
