"""A rotated refresh token is stored encrypted, and no crash loses it."""

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.signin.files import CredentialUnreadable
from app.signin.refresh_file import Kept, RefreshTokenFile
from tests.support import crash_refresh

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OWNER = ("https://login.example", "contoso.com", "app-id")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first-token\n")
    return file


def value(kept: Kept) -> str:
    return kept.token.get_secret_value()


def rotate(file: RefreshTokenFile, token: str) -> None:
    file.keep(Kept(SecretStr(token), NOW, file.newest().origin))


def test_a_plain_token_is_as_old_as_its_file(path: Path) -> None:
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    kept = RefreshTokenFile(path, None, OWNER).newest()
    assert (value(kept), kept.used_at) == ("first-token", NOW)


def test_a_rotated_token_is_encrypted_and_private_and_outlives_the_process(path: Path) -> None:
    rotate(RefreshTokenFile(path, None, OWNER), "second-token")
    stored = path.read_bytes()
    assert b"second-token" not in stored
    assert b"first-token" not in stored
    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.parent / "token.key").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(path.parent)) == ["token", "token.key"]

    reborn = RefreshTokenFile(path, None, OWNER).newest()
    assert (value(reborn), reborn.used_at) == ("second-token", NOW)


def test_the_origin_stays_through_rotations_and_changes_with_a_new_token(path: Path) -> None:
    file = RefreshTokenFile(path, None, OWNER)
    first = file.newest().origin
    rotate(file, "second-token")
    rotate(file, "third-token")
    assert file.newest().origin == first
    path.write_text("put-in-by-a-person")
    assert value(file.newest()) == "put-in-by-a-person"
    assert file.newest().origin != first


def test_the_key_may_live_elsewhere(path: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "elsewhere.key"
    rotate(RefreshTokenFile(path, key_file, OWNER), "second-token")
    key = key_file.read_bytes()
    rotate(RefreshTokenFile(path, key_file, OWNER), "third-token")
    assert key_file.read_bytes() == key
    assert not (tmp_path / "token.key").exists()
    assert value(RefreshTokenFile(path, key_file, OWNER).newest()) == "third-token"


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    rotate(RefreshTokenFile(link, None, OWNER), "second-token")
    assert link.is_symlink()
    assert value(RefreshTokenFile(link, None, OWNER).newest()) == "second-token"


def test_the_same_token_is_never_stored_twice_alike(path: Path) -> None:
    file = RefreshTokenFile(path, None, OWNER)
    rotate(file, "same")
    first = path.read_bytes()
    rotate(file, "same")
    assert path.read_bytes() != first


@pytest.mark.parametrize("position", ["authority", "directory", "client"])
def test_a_file_moved_to_another_app_does_not_open(path: Path, position: str) -> None:
    rotate(RefreshTokenFile(path, None, OWNER), "second-token")
    other = tuple("other" if name == position else own for name, own in zip(_OWNER_NAMES, OWNER, strict=True))
    with pytest.raises(CredentialUnreadable, match="another directory or client"):
        RefreshTokenFile(path, None, (other[0], other[1], other[2])).newest()


def test_a_changed_file_does_not_open(path: Path) -> None:
    rotate(RefreshTokenFile(path, None, OWNER), "second-token")
    whole = path.read_text().strip()
    head, _, sealed = whole.rpartition(":")
    flipped = ("B" if sealed[30] == "A" else "A").join((sealed[:30], sealed[31:]))
    for changed in (f"{head}:{flipped}", f"{head}:{sealed[:40]}", f"{head}:", f"{head}:***", "postroom:1", "postroom:"):
        path.write_text(changed)
        with pytest.raises(CredentialUnreadable) as caught:
            RefreshTokenFile(path, None, OWNER).newest()
        assert "second-token" not in str(caught.value)


def test_a_lost_a_foreign_and_a_broken_key_are_told_apart(path: Path) -> None:
    rotate(RefreshTokenFile(path, None, OWNER), "second-token")
    key_file = path.parent / "token.key"
    for content, fault in (
        ("A" * 43 + "=", "another key"),
        ("c2hvcnQ=", "is not a key"),
        ("not base64!", "is not a key"),
        (None, "cannot be read"),
    ):
        key_file.unlink()
        if content is not None:
            key_file.write_text(content)
        with pytest.raises(CredentialUnreadable, match=fault):
            RefreshTokenFile(path, None, OWNER).newest()
    assert not key_file.exists(), "reading must not make a key"


@pytest.mark.parametrize("content", ["two tokens", "line\nbreak", "ümlaut", "nul\0"])
def test_what_is_no_token_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(CredentialUnreadable, match="refresh token on one line"):
        RefreshTokenFile(path, None, OWNER).newest()


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_token_that_cannot_be_stored_is_kept_in_memory_and_stored_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int, fault: int
) -> None:
    file = RefreshTokenFile(path, None, OWNER)
    origin = file.newest().origin
    real, calls = getattr(os, step), 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(fault, os.strerror(fault))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing)
        try:
            file.keep(Kept(SecretStr("second-token"), NOW, origin))
        except OSError:
            assert file.is_behind
    assert value(file.newest()) == "second-token"
    assert value(RefreshTokenFile(path, None, OWNER).newest()) in {"first-token", "second-token"}

    file.keep_again()
    assert not file.is_behind
    assert value(RefreshTokenFile(path, None, OWNER).newest()) == "second-token"
    assert sorted(os.listdir(path.parent)) == ["token", "token.key"]


def _fail_to_keep(file: RefreshTokenFile, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="full"):
            rotate(file, token)


def test_a_token_in_memory_serves_when_its_file_has_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RefreshTokenFile(path, None, OWNER)
    _fail_to_keep(file, "second-token", monkeypatch)
    path.unlink()
    assert value(file.newest()) == "second-token"
    file.keep_again()
    assert value(RefreshTokenFile(path, None, OWNER).newest()) == "second-token"


def test_a_token_that_a_person_puts_in_wins_over_the_one_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RefreshTokenFile(path, None, OWNER)
    _fail_to_keep(file, "second-token", monkeypatch)
    path.write_text("put-in-by-a-person")
    file.keep_again()
    assert value(file.newest()) == "put-in-by-a-person"
    assert not file.is_behind


def test_a_token_that_a_person_puts_in_during_a_rotation_is_not_overwritten(path: Path) -> None:
    file = RefreshTokenFile(path, None, OWNER)
    origin = file.newest().origin
    path.write_text("put-in-by-a-person")
    file.keep(Kept(SecretStr("second-token"), NOW, origin))
    assert path.read_text() == "put-in-by-a-person"
    assert value(file.newest()) == "put-in-by-a-person"
    assert not file.is_behind


def test_the_name_changes_only_when_the_content_is_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(RefreshTokenFile(path, None, OWNER), "second-token")
    steps: list[str] = []
    for name in ("open", "write", "fsync", "replace"):
        monkeypatch.setattr(os, name, _noting(steps, name))
    rotate(RefreshTokenFile(path, None, OWNER), "third-token")
    assert steps == ["open", "write", "fsync", "replace", "open", "fsync"]


def _noting(steps: list[str], name: str) -> Any:
    real = getattr(os, name)

    def noting(*args: Any, **kwargs: Any) -> Any:
        steps.append(name)
        return real(*args, **kwargs)

    return noting


def test_a_process_killed_at_any_step_leaves_the_old_token_or_the_new_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crash_refresh", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    ends = dict(line.split() for line in done.stdout.splitlines())
    died = [name for name, end in ends.items() if end == "died"]
    assert {name.rsplit("-", 2)[0] for name in died} == {
        f"{start}-{step}" for start in ("plain", "encrypted") for step in crash_refresh.STEPS
    }
    left = {}
    for name in ends:
        file = crash_refresh.file_in(tmp_path / name)
        left[name] = value(file.newest())
        rotate(file, "next")  # what a crash left lying about is not in the way
        assert value(crash_refresh.file_in(tmp_path / name).newest()) == "next"
    assert {left[name] for name in died} == {crash_refresh.OLD, crash_refresh.NEW}
    assert {left[name] for name in ends if name not in died} == {crash_refresh.NEW}


_OWNER_NAMES = ("authority", "directory", "client")
