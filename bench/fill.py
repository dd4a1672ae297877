"""Fills a store quickly: what the product itself wrote of one message is copied many times, row by row, in SQL.

It knows which columns name a message and which hold an instant, and takes everything else as it finds it, so a new
column needs nothing here. Nobody may have the store open. Copies lie before the original in time; each has a recipient
of its own. ``recipients.attempt`` stays the original's number: nothing that is measured reads it.
"""

from __future__ import annotations

from pathlib import Path

import apsw

_TABLES = ("messages", "letters", "recipients", "tags", "attempts", "events", "content")
_INSTANTS = {
    *("seq", "message", "body", "created_at", "date_at", "due_at", "done_at"),
    *("at", "started_at", "marked_at", "ended_at"),
}
_NUMBERED_BY_SQLITE = {("attempts", "id"), ("events", "id")}
_MONTH = 29 * 86_400 * 1_000_000  # microseconds; housekeeping forgets after 30 days
_MILLISECOND = 1_000


def fill_waiting(store: Path, count: int) -> None:
    """Let ``count`` messages wait, all due, a millisecond apart, where one waits now."""
    _multiply(store, count - 1, _MILLISECOND, with_content=True)


def fill_done(store: Path, count: int) -> None:
    """Let there be ``count`` done messages where there is one now, over the last 29 days, their content erased."""
    _multiply(store, count - 1, _MONTH // count, with_content=False)


def _multiply(store: Path, copies: int, step: int, *, with_content: bool) -> None:
    db = apsw.Connection(str(store))
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -400000"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        with db:
            if not with_content:
                db.execute("DELETE FROM content")
                db.execute("UPDATE messages SET body = NULL")
            # A copy of each table's rows, so that a statement does not read what it writes.
            for table in _TABLES:
                db.execute(f"CREATE TEMP TABLE one_{table} AS SELECT * FROM main.{table}")
            for table in _TABLES:
                db.execute(_statement(db, table), {"copies": copies, "step": step})
        db.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        db.close()


def _statement(db: apsw.Connection, table: str) -> str:
    """Return the statement that copies a table's rows; numbers run downwards, so that rows are added in order."""
    found = db.execute(f"PRAGMA main.table_xinfo({table})").fetchall()
    columns = [name for _, name, _, _, _, _, hidden in found if not hidden and (table, name) not in _NUMBERED_BY_SQLITE]
    values = [_value(table, name) for name in columns]
    return f"""
        WITH RECURSIVE series (n) AS (SELECT :copies UNION ALL SELECT n - 1 FROM series WHERE n > 1)
        INSERT INTO main.{table} ({", ".join(columns)})
        SELECT {", ".join(values)} FROM series CROSS JOIN temp.one_{table} AS one WHERE :copies > 0
    """


def _value(table: str, column: str) -> str:
    if column in _INSTANTS:
        return f"one.{column} - series.n * :step"
    if (table, column) == ("messages", "id"):
        return "printf('msg_%026d', series.n)"
    if (table, column) == ("messages", "message_id"):
        return "printf('<msg_%026d@contoso.com>', series.n)"
    if table == "recipients" and column in ("address", "key", "wire"):
        return "printf('m%012d@fabrikam.com', series.n)"
    return f"one.{column}"
