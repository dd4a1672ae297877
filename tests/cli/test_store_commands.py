"""``store backup`` and ``store check``: what they write, what they refuse, and their exit codes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.commands.store import store_app
from app.queue.sqlite import SqliteStore
from tests.support.configuration import GOOD, changed
from tests.support.manual_clock import ManualClock
from tests.support.store_kit import Desk


def run(folder: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(store_app, [*map(str, words), "--config", str(folder / "postroom.toml")])


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, and a store at rest that holds two messages."""
    (tmp_path / "postroom.toml").write_text(GOOD)
    clock = ManualClock()
    store = await SqliteStore.open(tmp_path / "postroom.db", clock=clock, queue_limit=0, disk_floor=0)
    desk = Desk(store, clock, tmp_path / "postroom.db")
    await desk.accept()
    await desk.accept("ben@example.com", "cy@example.com")
    await store.close()
    return tmp_path


def values(file: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as db:
        return db.execute(statement).fetchall()


def test_a_copy_of_a_store_at_rest_is_whole(folder: Path) -> None:
    made = run(folder, "backup", folder / "copy.db")
    assert (made.exit_code, made.stdout) == (0, f"{folder}/copy.db: {(folder / 'copy.db').stat().st_size} octets\n")
    checked = run(folder, "check", folder / "copy.db")
    assert (checked.exit_code, checked.stdout) == (0, f"ok: {folder}/copy.db\n")
    assert values(folder / "copy.db", "SELECT address FROM recipients") == values(
        folder / "postroom.db", "SELECT address FROM recipients"
    )


def test_a_copy_is_for_its_owner_only_and_replaces_an_older_one(folder: Path) -> None:
    (folder / "copy.db").write_text("an older one")
    assert run(folder, "backup", folder / "copy.db").exit_code == 0
    assert (folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert run(folder, "check", folder / "copy.db").exit_code == 0
    assert not list(folder.glob("*.partial"))


def test_a_whole_store_is_ok(folder: Path) -> None:
    result = run(folder, "check")
    assert (result.exit_code, result.stdout) == (0, f"ok: {folder}/postroom.db\n")


def test_a_check_names_what_is_wrong_and_exits_with_1(folder: Path) -> None:
    values(folder / "postroom.db", "SELECT 1")
    with closing(sqlite3.connect(folder / "postroom.db")) as db, db:
        db.execute("UPDATE messages SET sent = 1")
    result = run(folder, "check")
    assert result.exit_code == 1
    assert result.stdout == f"{folder}/postroom.db: 2 messages count their recipients wrongly\n"


def test_a_file_that_is_no_store_fails_its_check(folder: Path) -> None:
    (folder / "letter.txt").write_text("Dear Ada, " * 1000)
    result = run(folder, "check", folder / "letter.txt")
    assert result.exit_code == 1
    assert "the store cannot be checked" in result.stderr


@pytest.mark.parametrize("name", ["postroom.db", "postroom.db-wal", "postroom.db-shm", "postroom.db.lock", "link.db"])
def test_the_store_and_what_belongs_to_it_are_no_place_for_a_copy(folder: Path, name: str) -> None:
    (folder / "link.db").symlink_to("postroom.db")
    result = run(folder, "backup", folder / name)
    assert result.exit_code == 2
    assert "is the store itself" in result.stderr
    assert run(folder, "check").exit_code == 0


@pytest.mark.parametrize(
    "words", [["backup", "/"], ["backup", "/no-such-folder/copy.db"], ["backup"], ["check", "a", "b"]]
)
def test_a_wrong_call_exits_with_2(folder: Path, words: Sequence[str]) -> None:
    assert run(folder, *words).exit_code == 2


@pytest.mark.parametrize("words", [["backup", "copy.db"], ["check"], ["check", "copy.db"]])
def test_where_no_store_is_there_is_nothing_to_begin_with(
    tmp_path: Path, words: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "postroom.toml").write_text(GOOD)
    result = run(tmp_path, *words)
    assert result.exit_code == 3
    assert "there is no store at" in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["postroom.toml"]


def test_a_fault_in_the_configuration_exits_with_2(folder: Path) -> None:
    (folder / "postroom.toml").write_text(changed("port = 2525", "port = 25"))
    assert run(folder, "check").exit_code == 2


def test_a_disk_without_room_leaves_neither_a_copy_nor_a_part_of_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.queue.upkeep.os.fsync", full)
    result = run(folder, "backup", folder / "copy.db")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert not list(folder.glob("copy*"))
