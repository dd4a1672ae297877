"""No statement that runs while serving walks a whole table: the engine's own plans say so."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

import app.queue
from app.queue import listing, pick
from app.queue.engine import open_file
from app.queue.views import ListQuery

NOW = datetime(2026, 11, 23, tzinfo=UTC)

# Statements that look at all of something small, or run at start and on request only; with the reason.
WALKS = {
    "memory.COUNT_WORK": "once at start",
    "reading.MESSAGES": "those that go before a message in its lane, a bounded number, in an index",
    "timekeeping.DUE_AFTER": "the index of what waits, once after a jump of the clock",
    "memory.LOWEST_BODY": "the lowest entry of an index",
    "pick.LANES": "once at start, the index of what waits",
    "pick.LEDGER": "the index of open attempts: as many as there are sessions",
    "pick.OPEN": "the index of open attempts",
    "requests.NEXT_EXPIRY": "the first entry of an index, behind as many as are being sent",
    "reading.OLDEST": "the index of what waits",
    "engine.DOOM_ALL": "once at start, content without a message",
    "keep.NEXT_DOOMED": "content without a message: little, or being deleted",
    "mailboxes.PARKED": "as many rows as mailboxes",
    "senders.SENDERS": "once at start",
    "senders.REFUSALS": "once at start, the refusals of a day",
    "audit.PAUSED": "as many rows as paused tenants",
    "selecting.TENANTS": "as many rows as tenants",
    "accept.BEAT": "one row",
    "migrate.APPLIED": "as many rows as migrations",
}


def constants() -> dict[str, str]:
    """Every named statement of the room."""
    found = {}
    for info in pkgutil.iter_modules(app.queue.__path__):
        module = importlib.import_module(f"app.queue.{info.name}")
        for name, text in vars(module).items():
            statements = text if isinstance(text, tuple) else (text,)
            for number, each in enumerate(statements):
                if not isinstance(each, str) or not name.isupper() or "{" in each:
                    continue
                if each.split(maxsplit=1)[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}:
                    key = f"{info.name}.{name}" + (f".{number}" if isinstance(text, tuple) else "")
                    found.setdefault(each, key)
    return {key: each for each, key in found.items()}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Any:
    opened = open_file(Path(tmp_path_factory.mktemp("plans")) / "postroom.db", 0, None)
    yield opened.db
    opened.db.close()
    opened.lock.release()


def steps_of(db: apsw.Connection, statement: str) -> list[str]:
    """The steps of a statement's plan."""
    named = re.findall(r":([a-z_]+)", statement)
    numbered = [int(each) for each in re.findall(r"\?(\d+)", statement)]
    bindings: Any = dict.fromkeys(named) or (None,) * (max(numbered) if numbered else statement.count("?"))
    return [str(row[3]) for row in db.execute("EXPLAIN QUERY PLAN " + statement, bindings)]


@pytest.mark.parametrize("name", sorted(set(constants()) - set(WALKS)))
def test_a_statement_is_led_by_an_index(db: apsw.Connection, name: str) -> None:
    steps = steps_of(db, constants()[name])
    assert [each for each in steps if each.startswith("SCAN") and "VIRTUAL TABLE" not in each] == []


def test_the_exceptions_are_statements_that_there_are() -> None:
    assert set(WALKS) <= set(constants())


FILTERS: dict[str, list[Any]] = {
    "status": [None, "sent", "queued", "scheduled"],
    "to_key": [None, "a"],
    "sender_key": [None, "a"],
    "tag": [None, ("a", "b")],
    "created_after": [None, NOW],
    "created_before": [None, NOW],
}


@pytest.mark.parametrize("newest_first", [True, False])
def test_no_listing_walks_a_table_or_sorts(db: apsw.Connection, newest_first: bool) -> None:
    for values in itertools.product(*FILTERS.values()):
        query = ListQuery("billing", NOW, **dict(zip(FILTERS, values, strict=True)))
        for statement in listing.statements(query, newest_first=newest_first):
            steps = steps_of(db, statement)
            assert not [each for each in steps if "SCAN" in each or "TEMP B-TREE" in each], (statement, steps)


def test_a_pick_reads_the_queue_in_order(db: apsw.Connection) -> None:
    for statement in (pick.DUE, pick.NEXT_DUE):
        steps = steps_of(db, statement)
        assert any("messages_waiting (pair=? AND priority=? AND due_at" in each for each in steps)
        assert not [each for each in steps if "TEMP B-TREE" in each]
