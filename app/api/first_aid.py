"""The operators' first aid: pause tenants; see, hold, release, cancel what waits; read who did what. Admin keys only.

Everything that changes something says truthfully how much, and stands in the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api import fields
from app.api.drafting import read_model
from app.api.fields import Faulty, checked, faulty
from app.api.query import (
    A_PAGE,
    acting_key,
    address_key_of,
    cursor_of,
    instant_of,
    limit_of,
    position_of,
    read_query,
    tag_of,
)
from app.api.reader import JsonReader
from app.api.refusals import as_problems, within
from app.api.views import Json, encode, instant, listing, message_view
from app.delivery.first_aid import TenantView, UnknownTenant
from app.intake.outcome import Forecast
from app.kit.clock import Clock
from app.queue.first_aid import OPEN_STATUSES, AuditPage, AuditRow, Deed, Filter, Tally
from app.queue.views import MessageView, Page
from app.web.call import call_of
from app.web.problems import Fault, Problem, invalid

_PATIENCE: Final = 10.0
_UNAVAILABLE: Final = "storage-unavailable"
_CURSORS: Final = frozenset({"limit", "after", "before"})
_FILTERS: Final = frozenset({"tenant", "from", "tag", "status", "created_before"})
# What a tenant says of its message to itself and its readers is not the operator's to read.
_PRIVATE: Final = ("subject", "metadata")

_Value = TypeVar("_Value")


class AuditTrail(Protocol):
    """Who did what; ``app.delivery.audit.Audit`` keeps this promise."""

    async def page(self, limit: int, after: int | None, before: int | None) -> AuditPage:
        """Return a page of the audit, newest first."""
        ...


class FirstAid(Protocol):
    """What operators may do; ``app.delivery.first_aid.FirstAid`` keeps this promise."""

    @property
    def audit(self) -> AuditTrail:
        """Return who did what."""
        ...

    def tenants(self) -> list[TenantView]:
        """Return every tenant."""
        ...

    async def pause(self, name: str, who: str) -> TenantView:
        """Let a tenant's mail wait."""
        ...

    async def resume(self, name: str, who: str) -> TenantView:
        """Let a tenant's mail go again."""
        ...

    async def queue(self, asked: Filter, limit: int, after: int | None, before: int | None) -> Page:
        """Return a page of what is not done."""
        ...

    async def change(self, deed: Deed, asked: Filter, who: str) -> Tally:
        """Hold, release or cancel what fits."""
        ...


def _text(read: Callable[[str], _Value]) -> Any:
    """Return a validator of a string that ``read`` understands; null is none."""
    return checked(lambda value: None if value is None else read(fields.string(value)))


class FilterIn(BaseModel):
    """The filters of a change; at least one is needed."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, validate_by_name=False)
    tenant: Annotated[str | None, _text(str)] = None
    sender: Annotated[str | None, _text(address_key_of)] = Field(default=None, alias="from")
    tag: Annotated[tuple[str, str] | None, _text(tag_of)] = None
    status: Literal["scheduled", "queued", "deferred", "sending", "held"] | None = None
    before: Annotated[datetime | None, _text(instant_of)] = None


class FirstAidRoutes:
    """The routes of ``/v1/tenants``, ``/v1/queue`` and ``/v1/audit``."""

    def __init__(self, first_aid: FirstAid, forecast: Callable[[MessageView], Forecast], clock: Clock) -> None:
        """Answer over ``first_aid``; ``forecast`` returns the outlook of a stored message."""
        self._first_aid = first_aid
        self._forecast = forecast
        self._clock = clock
        self._reader = JsonReader()

    async def tenants(self, request: Request) -> Response:
        """Tell every tenant, and which are paused."""
        read_query(request.scope["query_string"], ())
        return _json(listing(map(tenant_view, self._first_aid.tenants()), None, None))

    async def pause(self, request: Request) -> Response:
        """Let a tenant's mail wait; it is accepted all the same."""
        with _known(), as_problems():
            return _json(tenant_view(await self._first_aid.pause(request.path_params["name"], acting_key(request))))

    async def resume(self, request: Request) -> Response:
        """Let a tenant's mail go again."""
        with _known(), as_problems():
            return _json(tenant_view(await self._first_aid.resume(request.path_params["name"], acting_key(request))))

    async def queue(self, request: Request) -> Response:
        """Tell a page of the messages that are not done, of all tenants, newest first."""
        given = read_query(request.scope["query_string"], _CURSORS | _FILTERS)
        if ":" in given.get("before", ""):
            # Here as in the command and in a change, before may be an instant; no cursor has a colon.
            given.setdefault("created_before", given.pop("before"))
        limit, after, before = _read_page(given)
        asked = Filter(
            tenant=given.get("tenant"),
            sender_key=_read(given, "from", address_key_of),
            tag=_read(given, "tag", tag_of),
            status=_read(given, "status", _status),
            before=_read(given, "created_before", instant_of),
        )
        with as_problems():
            async with within(_PATIENCE, _UNAVAILABLE):
                page = await self._first_aid.queue(asked, limit, after, before)
        now = self._clock.now()
        data = [queue_row(view, self._forecast(view), now) for view in page.messages]
        return _json(listing(data, cursor_of(page.next), cursor_of(page.previous)))

    async def cancel(self, request: Request) -> Response:
        """Cancel what is pending of the messages that fit."""
        return await self._change(request, Deed.CANCEL)

    async def hold(self, request: Request) -> Response:
        """Hold the messages that fit and wait."""
        return await self._change(request, Deed.HOLD)

    async def release(self, request: Request) -> Response:
        """Release the messages that fit and that an operator holds."""
        return await self._change(request, Deed.RELEASE)

    async def _change(self, request: Request, deed: Deed) -> Response:
        who, call = acting_key(request), call_of(request)
        given = read_model(FilterIn, await self._reader.document(call))
        asked = Filter(given.tenant, given.sender, given.tag, given.status, given.before)
        if asked == Filter():
            raise invalid([Fault("#", "missing", "needs at least one of tenant, from, tag, status, before")])
        with as_problems():
            tally = await self._first_aid.change(deed, asked, who)
        return _json({"matched": tally.matched, "changed": tally.changed})

    async def audit(self, request: Request) -> Response:
        """Tell a page of who did what, newest first."""
        limit, after, before = _read_page(read_query(request.scope["query_string"], _CURSORS))
        with as_problems():
            async with within(_PATIENCE, _UNAVAILABLE):
                page = await self._first_aid.audit.page(limit, after, before)
        return _json(listing(map(audit_view, page.rows), cursor_of(page.next), cursor_of(page.previous)))


def _read_page(given: dict[str, str]) -> tuple[int, int | None, int | None]:
    if "after" in given and "before" in given:
        raise invalid([Fault("before", "exclusive", "after and before exclude each other", "parameter")])
    limit = _read(given, "limit", limit_of) or A_PAGE
    return limit, _read(given, "after", position_of), _read(given, "before", position_of)


def _read(given: dict[str, str], name: str, read: Callable[[str], _Value]) -> _Value | None:
    if name not in given:
        return None
    try:
        return read(given[name])
    except Faulty as error:
        raise invalid([Fault(name, error.flaws[0].code, error.flaws[0].text, "parameter")]) from None


def _status(text: str) -> str:
    if text not in OPEN_STATUSES:
        raise faulty("choice", f"must be one of {', '.join(OPEN_STATUSES)}")
    return text


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except UnknownTenant:
        raise Problem("not-found", "there is no tenant of that name") from None


def tenant_view(view: TenantView) -> Json:
    """Return a tenant as operators see it."""
    paused = None if view.paused is None else {"since": instant(view.paused.since), "by": view.paused.who}
    return {"object": "tenant", "name": view.name, "paused": paused}


def queue_row(view: MessageView, forecast: Forecast, now: datetime) -> Json:
    """Return a message as operators see it: whose it is, where it stands, and what it waits for; not what it says."""
    told = message_view(view, forecast, now)
    for name in _PRIVATE:
        del told[name]
    return {"object": told.pop("object"), "id": told.pop("id"), "tenant": view.tenant, **told}


def audit_view(row: AuditRow) -> Json:
    """Return a row of the audit."""
    return {
        "id": row.id,
        "at": instant(row.at),
        "who": row.who,
        "action": row.action,
        "target": row.target,
        "detail": row.detail,
    }


def _json(value: object) -> Response:
    return Response(encode(value), headers={"cache-control": "no-store"}, media_type="application/json")
