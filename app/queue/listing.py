"""Lists a tenant's messages, newest first, by position; every filter can lead, and each leads by an index.

A message's position is its place (``seq``): the instant of its creation, but for less than a second. So a listing
begins where it should, however many messages there are. Of several filters the one that likely leaves the fewest
leads; the others are asked of each candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import apsw

from app.queue.asking import rows, value
from app.queue.codec import SECOND, micros
from app.queue.reading import views
from app.queue.views import ListQuery, Page

# The number of a tenant.
TENANT: Final = "SELECT id FROM tenants WHERE name = ?"

# The places of a listing: ``lead`` is a range of one index, ``terms`` what else is asked.
PLACES: Final = """
SELECT DISTINCT {place} FROM {lead} WHERE {terms} AND {place} > :low AND {place} < :high
ORDER BY {place} {order} LIMIT :limit
"""

_JOINED: Final = "CROSS JOIN messages AS m ON m.seq = d.message"

# A message with a time to go shows itself as scheduled as long as that lies ahead, then as queued.
_AHEAD: Final = "m.status = 'scheduled' AND m.scheduled_at > :now"
_CAME: Final = "m.status = 'scheduled' AND m.scheduled_at <= :now"
_STATUS: Final = "m.status = :status"

_LOWEST: Final = -(2**62)
_HIGHEST: Final = 2**62


@dataclass(frozen=True, slots=True)
class _Lead:
    """An index to walk: where from, which column is the place, and the terms that bound it."""

    source: str
    place: str
    terms: str


_BY_RECIPIENT: Final = _Lead(
    "recipients AS d INDEXED BY recipients_key", "d.message", "d.tenant = :tenant AND d.key = :to"
)
_BY_TAG: Final = _Lead("tags AS d", "d.message", "d.tenant = :tenant AND d.name = :tag AND d.value = :value")
_BY_PAIR: Final = _Lead(
    "messages AS m INDEXED BY messages_pair",
    "m.seq",
    "m.pair = (SELECT id FROM pairs WHERE tenant = :tenant AND sender_key = :sender)",
)
_BY_TENANT: Final = _Lead("messages AS m INDEXED BY messages_tenant", "m.seq", "m.tenant = :tenant")
_BY_STATUS: Final = "messages AS m INDEXED BY messages_status"


def _status_terms(status: str) -> tuple[str, ...]:
    if status == "scheduled":
        return (_AHEAD,)
    return (_STATUS, _CAME) if status == "queued" else (_STATUS,)


def _asked(query: ListQuery) -> dict[str, str]:
    """Return what each filter asks of a candidate, by filter."""
    asked = {}
    if query.to_key is not None:
        asked["to"] = "EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = m.seq AND r.key = :to)"
    if query.tag is not None:
        asked["tag"] = (
            "EXISTS (SELECT 1 FROM tags AS g WHERE g.tenant = :tenant AND g.name = :tag AND g.value = :value"
            " AND g.message = m.seq)"
        )
    if query.status is not None:
        asked["status"] = " OR ".join(f"({term})" for term in _status_terms(query.status))
    if query.sender_key is not None:
        asked["sender"] = _BY_PAIR.terms
    if query.created_after is not None:
        asked["after"] = "m.created_at > :created_after"
    if query.created_before is not None:
        asked["before"] = "m.created_at < :created_before"
    return asked


def _leads(query: ListQuery) -> tuple[str, tuple[_Lead, ...]]:
    """Choose the filter that leads, and its ranges.

    Nearly every message ends as sent, so that word leaves more than a sender does; any other leaves fewer.
    """
    if query.to_key is not None:
        return "to", (_BY_RECIPIENT,)
    if query.tag is not None:
        return "tag", (_BY_TAG,)
    if query.status is not None and (query.status != "sent" or query.sender_key is None):
        terms = _status_terms(query.status)
        return "status", tuple(_Lead(_BY_STATUS, "m.seq", f"m.tenant = :tenant AND {term}") for term in terms)
    if query.sender_key is not None:
        return "sender", (_BY_PAIR,)
    return "", (_BY_TENANT,)


def statements(query: ListQuery, *, newest_first: bool) -> Iterator[str]:
    """Yield the statements whose places together, merged, are the answer to a query."""
    asked = _asked(query)
    leader, leads = _leads(query)
    asked.pop(leader, None)
    for lead in leads:
        joined = asked and lead.place == "d.message"
        terms = [lead.terms, *(f"({term})" for term in asked.values())]
        yield PLACES.format(
            place=lead.place,
            lead=f"{lead.source} {_JOINED}" if joined else lead.source,
            terms=" AND ".join(terms),
            order="DESC" if newest_first else "ASC",
        )


def _places(
    db: apsw.Connection, query: ListQuery, bindings: dict[str, str | int | None], low: int, high: int, limit: int
) -> list[int]:
    """Return up to ``|limit|`` places between two others (exclusive): the highest, or the lowest if negative."""
    newest_first = limit > 0
    found: set[int] = set()
    ranged = bindings | {"low": low, "high": high, "limit": abs(limit)}
    for statement in statements(query, newest_first=newest_first):
        found.update(place for (place,) in rows(db, statement, ranged))
    return sorted(found, reverse=newest_first)[: abs(limit)]


def page(db: apsw.Connection, query: ListQuery) -> Page:
    """Return a page of a tenant's messages; see ``QueueStore.messages``."""
    tenant = value(db, TENANT, (query.tenant,))
    if tenant is None:
        return Page((), None, None)
    tag_name, tag_value = query.tag or (None, None)
    created_after, created_before = micros(query.created_after), micros(query.created_before)
    bindings = {
        "tenant": tenant,
        "to": query.to_key,
        "tag": tag_name,
        "value": tag_value,
        "status": query.status,
        "sender": query.sender_key,
        "now": micros(query.now),
        "created_after": created_after,
        "created_before": created_before,
    }
    # A place is never before the instant of creation, and less than a second behind it.
    low = _LOWEST if created_after is None else created_after
    high = _HIGHEST if created_before is None else created_before + SECOND
    if query.before is None:
        from_, step = (high if query.after is None else min(high, query.after)), query.limit + 1
        places = _places(db, query, bindings, low, from_, step)
    else:
        places = _places(db, query, bindings, max(low, query.before), high, -(query.limit + 1))
    more = len(places) > query.limit
    places = sorted(places[: query.limit], reverse=True)
    if not places:
        return Page((), None, None)
    older = more if query.before is None else bool(_places(db, query, bindings, low, places[-1], 1))
    newer = more if query.before is not None else bool(_places(db, query, bindings, places[0], high, -1))
    return Page(views(db, places), places[-1] if older else None, places[0] if newer else None)
