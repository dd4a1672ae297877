"""Finds messages that are not done, of any tenant, by an operator's filters; newest first or oldest first.

Each tenant's messages of one status are a range of one index, and what is not done is at most what the queue may hold:
so a filter never walks through the history, however long that is. The places of the ranges, merged, are the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Final

import apsw

from app.queue.asking import rows
from app.queue.codec import SECOND, micros
from app.queue.first_aid import OPEN_STATUSES, Filter
from app.queue.reading import views
from app.queue.views import Page

# The tenants that ever sent, or one of them.
TENANTS: Final = "SELECT id, name FROM tenants"

# The places of one tenant's messages of one stored status; ``terms`` is what else is asked.
PLACES: Final = """
SELECT m.seq, m.recipients FROM messages AS m INDEXED BY messages_status
WHERE m.tenant = :tenant AND m.status = :stored AND m.seq > :low AND m.seq < :high AND {terms}
ORDER BY m.seq {order} LIMIT :limit
"""

_SENDER: Final = "m.pair = (SELECT id FROM pairs WHERE tenant = :tenant AND sender_key = :sender)"
_TAG: Final = (
    "EXISTS (SELECT 1 FROM tags AS g WHERE g.tenant = :tenant AND g.name = :tag AND g.value = :value"
    " AND g.message = m.seq)"
)
_BEFORE: Final = "m.created_at < :created_before"

_LOWEST: Final = -(2**62)
_HIGHEST: Final = 2**62


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is, and of how many recipients it is."""

    seq: int
    recipients: int


def _stored(status: str | None) -> tuple[tuple[str, str], ...]:
    """Return the stored statuses that a shown one may have, each with what else it asks."""
    if status is None:
        return tuple((each, "1") for each in OPEN_STATUSES)
    if status == "scheduled":
        return (("scheduled", "m.scheduled_at > :now"),)
    if status == "queued":  # a time to go that has come is no longer told
        return (("queued", "1"), ("scheduled", "m.scheduled_at <= :now"))
    return ((status, "1"),)


def statements(asked: Filter, *, newest_first: bool) -> Iterator[tuple[str, str]]:
    """Yield a statement and the stored status it is for; for each tenant, all of them together are the answer."""
    asks = [_SENDER] * (asked.sender_key is not None) + [_TAG] * (asked.tag is not None)
    asks += [_BEFORE] * (asked.before is not None)
    for stored, term in _stored(asked.status):
        terms = " AND ".join([term, *asks])
        yield stored, PLACES.format(terms=terms, order="DESC" if newest_first else "ASC")


def places(
    db: apsw.Connection,
    asked: Filter,
    now: datetime,
    limit: int,
    *,
    low: int | None = None,
    high: int | None = None,
    newest_first: bool = False,
) -> list[Place]:
    """Return up to ``limit`` places between two others (exclusive)."""
    name, value = asked.tag or (None, None)
    highest = _HIGHEST if high is None else high
    before = micros(asked.before)
    bindings = {
        "sender": asked.sender_key,
        "tag": name,
        "value": value,
        "created_before": before,
        "now": micros(now),
        "low": _LOWEST if low is None else low,
        # A place is never before the instant of creation, and less than a second behind it.
        "high": highest if before is None else min(highest, before + SECOND),
        "limit": limit,
    }
    ranges = [
        rows(db, statement, bindings | {"tenant": tenant, "stored": stored})
        for tenant, tenant_name in rows(db, TENANTS)
        if asked.tenant in (None, tenant_name)
        for stored, statement in statements(asked, newest_first=newest_first)
    ]
    found = merge(*ranges, reverse=newest_first)
    return [Place(seq, recipients) for (seq, recipients), _ in zip(found, range(limit), strict=False)]


def page(db: apsw.Connection, asked: Filter, now: datetime, limit: int, after: int | None, before: int | None) -> Page:
    """Return a page of messages that are not done, newest first; ``after`` and ``before`` are places, never both."""
    if before is None:
        found = places(db, asked, now, limit + 1, high=after, newest_first=True)
    else:
        found = places(db, asked, now, limit + 1, low=before)
    more = len(found) > limit
    seqs = sorted((place.seq for place in found[:limit]), reverse=True)
    if not seqs:
        return Page((), None, None)
    older = more if before is None else bool(places(db, asked, now, 1, high=seqs[-1], newest_first=True))
    newer = more if before is not None else bool(places(db, asked, now, 1, low=seqs[0]))
    return Page(views(db, seqs), seqs[-1] if older else None, seqs[0] if newer else None)
