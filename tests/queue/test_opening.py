"""Stories of opening a store: the lock, the schema, and places where no store can be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import apsw
import pytest

from app.queue import engine
from app.queue.contract import StoreError
from app.queue.lock import NETWORK_FILE_SYSTEMS, StoreLock, StoreLocked, file_system_of
from app.queue.migrate import Applied, Migration, MigrationFailed, known_migrations, migrate, missing
from tests.support.manual_clock import ManualClock

ROOT = Path(__file__).parents[2]

HOLDER = """
import sys
from pathlib import Path
from app.queue.engine import open_file
opened = open_file(Path(sys.argv[1]), 0, None)
print("open", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that has the store open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


async def test_a_second_process_is_refused_until_the_first_is_killed(open_desk, tmp_path: Path) -> None:
    path = tmp_path / "postroom.db"
    with hold(path) as process:
        with pytest.raises(StoreLocked, match=f"locked by process {process.pid}") as caught:
            await open_desk()
        assert caught.value.reason == "store-locked"
        process.send_signal(signal.SIGKILL)
        process.wait()
    await open_desk()


async def test_a_second_opening_in_the_same_process_is_refused(open_desk) -> None:
    desk = await open_desk()
    with pytest.raises(StoreLocked, match=str(os.getpid())):
        await open_desk()
    await desk.store.close()
    await open_desk()


async def test_a_closed_store_refuses_and_closing_again_is_nothing(open_desk) -> None:
    desk = await open_desk()
    await desk.store.close()
    await desk.store.close()
    with pytest.raises(StoreError, match="closed"):
        await desk.accept()
    with pytest.raises(StoreError, match="closed"):
        await desk.store.lanes()
    assert sorted(each.name for each in desk.path.parent.iterdir()) == ["postroom.db", "postroom.db.lock"]


def test_a_lock_is_given_back_once(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path / "a.db")
    lock.release()
    lock.release()
    StoreLock(tmp_path / "a.db").release()


async def test_only_we_may_read_the_files(open_desk) -> None:
    desk = await open_desk()
    await desk.accept()
    await desk.store.lanes()
    modes = {each.name: each.stat().st_mode & 0o777 for each in desk.path.parent.iterdir()}
    assert modes == {f"postroom.db{end}": 0o600 for end in ("", "-wal", "-shm", ".lock")}


async def test_a_store_in_no_folder_is_refused(open_desk, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"folder .* does not exist"):
        await open_desk(tmp_path / "nowhere" / "postroom.db")


async def test_a_file_that_is_no_store_is_refused_and_unlocked(open_desk, tmp_path: Path) -> None:
    path = tmp_path / "postroom.db"
    path.write_bytes(b"Dear diary, " * 1000)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be opened"):
            await open_desk()


async def test_a_store_that_cannot_have_a_log_is_refused(open_desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SETTINGS", "PRAGMA journal_mode = DELETE")
    with pytest.raises(StoreError, match="write-ahead log"):
        await open_desk()


async def test_the_settings_that_durability_rests_on(open_desk) -> None:
    desk = await open_desk()

    def settings(transaction: object) -> list[object]:
        db = transaction.db  # type: ignore[attr-defined]
        return [db.pragma(name) for name in ("journal_mode", "synchronous", "auto_vacuum", "mmap_size")]

    # FULL is 2, INCREMENTAL is 2; mapped reading would turn a bad sector into a dead process.
    assert await desk.store._writer.do("test", settings) == ["wal", 2, 2, 0]


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:40 / /srv rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2
41 40 0:41 / /srv/local rw - xfs /dev/vdb rw
42 22 0:42 / /mnt/my\\040files rw - fuse.sshfs me@host: rw
43 22 0:43 / /srv2 rw - tmpfs tmpfs rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/postroom", "ext4"),
        ("/srv/mail", "nfs4"),
        ("/srv", "nfs4"),
        ("/srv/local/mail", "xfs"),
        ("/mnt/my files/mail", "fuse.sshfs"),
        ("/srv2/mail", "tmpfs"),
    ],
)
def test_the_longest_mount_point_says_what_file_system_a_path_is_on(path: str, kind: str) -> None:
    assert file_system_of(PurePosixPath(path), MOUNTS) == kind


def test_a_later_mount_hides_an_earlier_one_and_no_mount_is_no_answer() -> None:
    hidden = MOUNTS + "50 22 0:50 / /srv rw - cifs //server/share rw\n"
    assert file_system_of(PurePosixPath("/srv/mail"), hidden) == "cifs"
    assert file_system_of(PurePosixPath("/srv"), "") is None


@pytest.mark.parametrize("kind", sorted(NETWORK_FILE_SYSTEMS))
async def test_a_network_file_system_is_refused_with_the_reason(
    open_desk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("app.queue.lock.file_system_of", lambda *_: kind)
    with pytest.raises(StoreError, match=rf"network file system \({kind}\).*local disk"):
        await open_desk()


# -- the schema

FIRST = Migration(1, "0001_first.sql", "-- additive\nCREATE TABLE a (x)")
SECOND = Migration(2, "0002_second.sql", "-- breaking\nCREATE TABLE b (x)")


def applied(migration: Migration) -> Applied:
    return Applied(migration.number, migration.name, migration.checksum, migration.is_additive)


def test_what_is_missing_is_applied_in_order() -> None:
    assert missing([FIRST, SECOND], []) == (FIRST, SECOND)
    assert missing([FIRST, SECOND], [applied(FIRST)]) == (SECOND,)
    assert missing([FIRST, SECOND], [applied(FIRST), applied(SECOND)]) == ()


def test_a_migration_that_was_edited_after_it_was_applied_is_refused_by_name() -> None:
    edited = Migration(1, FIRST.name, FIRST.sql + " -- better")
    with pytest.raises(MigrationFailed, match=r"0001_first\.sql .*checksum differs"):
        missing([edited], [applied(FIRST)])


def test_a_newer_schema_is_survived_only_if_it_was_additive() -> None:
    newer = Migration(3, "0003_newer.sql", "-- additive\n")
    assert missing([FIRST], [applied(FIRST), applied(newer)]) == ()
    with pytest.raises(MigrationFailed, match=r"0002_second\.sql"):
        missing([FIRST], [applied(FIRST), applied(SECOND)])


def test_a_migration_that_fails_leaves_nothing_of_itself_and_what_went_before() -> None:
    bad = Migration(2, "0002_bad.sql", "CREATE TABLE b (x); CREATE TABLE a (x)")
    db = apsw.Connection(":memory:")
    for _ in range(2):
        with pytest.raises(MigrationFailed, match=r"0002_bad\.sql failed: .*already exists"):
            migrate(db, 0, [FIRST, bad])
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        assert tables == [("a",), ("schema_version",)]


def test_every_migration_says_whether_older_code_can_live_with_it() -> None:
    known = known_migrations()
    assert [each.number for each in known] == list(range(1, len(known) + 1))
    for each in known:
        assert each.sql.startswith(("-- additive\n", "-- breaking\n")), each.name


async def test_a_store_keeps_the_checksums_of_its_migrations(open_desk) -> None:
    desk = await open_desk()
    db = apsw.Connection(str(desk.path), flags=apsw.SQLITE_OPEN_READONLY)
    kept = db.execute("SELECT number, name, checksum FROM schema_version").fetchall()
    db.close()
    assert kept == [(each.number, each.name, each.checksum) for each in known_migrations()]


async def test_a_store_of_a_newer_version_is_served(open_desk, clock: ManualClock) -> None:
    desk = await open_desk()
    new = await desk.accept()
    await desk.store.close()
    db = apsw.Connection(str(desk.path))
    db.execute("ALTER TABLE messages ADD COLUMN trace TEXT")
    db.execute("INSERT INTO schema_version VALUES (99, '0099_trace.sql', 'abc', 1, 0)")
    db.close()
    desk = await open_desk()
    await desk.accept()
    assert (await desk.view(new)).id == new.id


async def test_opening_does_not_stop_the_loop(open_desk) -> None:
    """It happens in a thread."""
    opening = asyncio.create_task(open_desk())
    turns = 0
    while not opening.done():
        await asyncio.sleep(0)
        turns += 1
    await opening
    assert turns > 3
