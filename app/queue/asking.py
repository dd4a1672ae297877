"""Asks the engine: all rows, one row, or one value of a statement. Everything that was found is read before it returns,
so a statement never stays open beside the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

Row = tuple[Any, ...]
Bindings = Sequence[Any] | dict[str, Any]


def rows(db: apsw.Connection, statement: str, bindings: Bindings = ()) -> list[Row]:
    """Return every row of a statement."""
    return db.execute(statement, bindings).fetchall()


def row(db: apsw.Connection, statement: str, bindings: Bindings = ()) -> Row | None:
    """Return the first row of a statement, if it has one."""
    return db.execute(statement, bindings).fetchone()


def value(db: apsw.Connection, statement: str, bindings: Bindings = ()) -> Any:
    """Return the first value of a statement's first row; None where there is no row."""
    found = db.execute(statement, bindings).fetchone()
    return None if found is None else found[0]
