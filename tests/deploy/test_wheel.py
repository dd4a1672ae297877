"""A wheel is built, installed into an empty environment, and its console script works there, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.configuration import GOOD

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POSTROOM_", "PYTHON"))}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    # hatchling is among the locked development tools, so nothing is fetched.
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT, cwd=place)
    (made,) = place.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the hashed dependencies and the wheel, and nothing else."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", place, cwd=place)
    pip: Sequence[str | Path] = (place / "bin" / "python", "-m", "pip", "install", "--quiet")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements.lock", cwd=place)
    run(*pip, "--no-deps", "--no-index", wheel, cwd=place)
    return place / "bin"


def test_the_wheel_holds_the_package_with_its_data_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/", 1)[0] for name in names} == {"app", f"postroom-{version('postroom')}.dist-info"}
    packed = {name for name in names if name.startswith("app/")}
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "app").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there


@pytest.mark.timeout(300)
def test_the_console_script_works_in_an_empty_environment(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text(GOOD)
    postroom = scripts / "postroom"
    assert run(postroom, "--version", cwd=tmp_path) == f"postroom {version('postroom')}\n"
    assert run(postroom, "config", "check", cwd=tmp_path).startswith("ok: postroom.toml")
    assert len(run(postroom, "keys", "new", "billing", cwd=tmp_path).splitlines()) == 2
    assert "serve" in run(postroom, "--help", cwd=tmp_path)
    run(scripts / "python", "-m", "pip", "check", cwd=tmp_path)
    # Everything that the service and the emulator need is declared: nothing of the development tools is there.
    run(scripts / "python", "-c", "import app.main, app.emulator", cwd=tmp_path)
