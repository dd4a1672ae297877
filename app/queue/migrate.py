"""Brings a store's schema up to date: numbered files, each applied once, in one transaction, with its checksum kept.

A file begins with ``-- additive`` or ``-- breaking``. Additive ones only add what older code does not look at, so a
store that a newer version has migrated is opened by this one as long as every file unknown here was additive
(expand first, contract in a later version).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from app.queue.asking import rows
from app.queue.contract import StoreError

_FOLDER: Final = Path(__file__).parent / "migrations"
_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

# Which migrations a store has seen.
CREATE_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    is_additive INTEGER NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""

# The migrations a store has seen, in order.
APPLIED: Final = "SELECT number, name, checksum, is_additive FROM schema_version ORDER BY number"

# Keep that a migration was applied.
NOTE_APPLIED: Final = """
INSERT INTO schema_version (number, name, checksum, is_additive, applied_at) VALUES (?, ?, ?, ?, ?)
"""


class MigrationFailed(StoreError):
    """The schema cannot be brought to what this version needs; the text names the migration."""

    def __init__(self, text: str) -> None:
        super().__init__("migration-failed", text)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, its SQL."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def is_additive(self) -> bool:
        """Whether older code can live with it."""
        return self.sql.startswith("-- additive\n")


@dataclass(frozen=True, slots=True)
class Applied:
    """What a store says of a migration that it has seen."""

    number: int
    name: str
    checksum: str
    is_additive: bool


def known_migrations(folder: Path = _FOLDER) -> tuple[Migration, ...]:
    """Return the migrations of this version, in order."""
    found = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    return tuple(found)


def missing(known: Sequence[Migration], applied: Iterable[Applied]) -> tuple[Migration, ...]:
    """Decide which migrations are to be applied. Raises ``MigrationFailed`` where the store cannot be used."""
    by_number = {migration.number: migration for migration in known}
    seen = set()
    for each in applied:
        seen.add(each.number)
        migration = by_number.get(each.number)
        if migration is None:
            if not each.is_additive:
                raise MigrationFailed(
                    f"the store was changed by a newer version ({each.name}) that this one cannot follow"
                )
        elif migration.checksum != each.checksum:
            raise MigrationFailed(f"migration {each.name} is not the one that was applied: its checksum differs")
    return tuple(migration for migration in known if migration.number not in seen)


def migrate(db: apsw.Connection, now: int, known: Sequence[Migration]) -> None:
    """Apply what is missing. ``now`` in microseconds. Raises ``MigrationFailed``; what went well before it stays."""
    db.execute(CREATE_VERSIONS)
    applied = [Applied(number, name, text, bool(additive)) for number, name, text, additive in rows(db, APPLIED)]
    for migration in missing(known, applied):
        try:
            with db:
                db.execute(migration.sql).fetchall()
                db.execute(
                    NOTE_APPLIED, (migration.number, migration.name, migration.checksum, migration.is_additive, now)
                )
        except apsw.Error as error:
            raise MigrationFailed(f"migration {migration.name} failed: {error}") from error
