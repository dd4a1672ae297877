"""The console script itself: real processes, so only a few."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.configuration import GOOD, changed

# What the console script does, without relying on where it was installed.
START = "import sys; from app.cli import main; sys.argv[0] = 'postroom'; main()"
ROOT = Path(__file__).parents[2]


def postroom(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, with our variables and no others of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    return subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_console_script_is_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"postroom": "app.cli:main"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["config", "check"], 0),
        (["config", "check", "--config", "bad.toml"], 2),
        (["no-such-command"], 2),
        (["--version"], 0),
        (["store", "check"], 3),
    ],
)
def test_exit_codes_come_through(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "postroom.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(changed("port = 2525", "port = 25"))
    result = postroom(tmp_path, *arguments)
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_serve_with_a_fault_of_the_environment_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text(GOOD)
    result = postroom(tmp_path, "serve", POSTROOM_SERVER__LISTN="127.0.0.1:0")
    assert result.returncode == 2
    assert "environment: POSTROOM_SERVER__LISTN: names no setting" in result.stderr


def test_keys_new_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = {"fastapi", "uvicorn", "pydantic_settings", "cryptography", "apsw", "httpx", "structlog"}
    ending = f"try: main()\nexcept SystemExit: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    code = START.replace("main()", f"\n{ending}")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "keys", "new", "billing"]
    result = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.splitlines()[-1] == "[]"
