"""``serve``, ``keys`` and ``emulator``: what they hand on, and their exit codes."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.web.keys import Found, KeyEntry, KeyRing
from tests.support.configuration import GOOD, faults_of

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, without variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("POSTROOM_CONFIG", "POSTROOM_FAILPOINTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "kind", "is_test"),
    [(["billing"], "live", False), (["billing", "--test"], "test", True), (["--admin"], "live", False)],
)
def test_keys_new_prints_the_key_and_the_line_for_the_file(arguments: list[str], kind: str, is_test: bool) -> None:
    result = run(app, ["keys", "new", *arguments])
    key, line = result.stdout.splitlines()
    entry = re.fullmatch(r'\{ id = "(\w+)", hash = "(sha256:\w+)" \}', line)
    assert result.exit_code == 0
    assert entry is not None
    found = KeyRing([(None, [KeyEntry(entry[1], entry[2])])]).find(key, datetime.now(UTC))
    assert isinstance(found, Found)
    assert (found.is_test, key.split("_")[1]) == (is_test, kind)


def test_the_printed_line_can_be_pasted(clean: Path) -> None:
    tenant, admin = (run(app, ["keys", "new", *each]).stdout.splitlines()[1] for each in (["t"], ["--admin"]))
    text = f"{GOOD}\n[tenants.t]\nkeys = [{tenant}]\n[server]\nadmin_keys = [{admin}]\n"
    assert faults_of(clean, text) == {}


@pytest.mark.parametrize("arguments", [[], ["billing", "--admin"], ["--admin", "--test"], ["a", "b"], ["--what"]])
def test_a_wrong_call_of_keys_new_exits_with_2(arguments: list[str]) -> None:
    result = run(app, ["keys", "new", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for the service: keep what it was given, end with 3."""
    calls: list[Any] = []
    module = ModuleType("app.main")
    module.Reload = lambda config, load: (config, load)  # type: ignore[attr-defined]
    module.serve = lambda settings, _reload, *, failpoints: (calls.append((settings, failpoints)), 3)[1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "app.main", module)
    return calls


def test_serve_hands_the_settings_on_and_exits_as_the_service_says(clean: Path, served: list[Any]) -> None:
    (clean / "postroom.toml").write_text(GOOD)
    result = run(app, ["serve"])
    assert result.exit_code == 3
    ((settings, failpoints),) = served
    assert list(settings.mailboxes) == ["noreply"]
    assert failpoints == ""


def test_serve_reads_dotenv_with_dev_only(clean: Path, served: list[Any]) -> None:
    (clean / "postroom.toml").write_text(GOOD)
    (clean / ".env").write_text("POSTROOM_LOG__LEVEL=debug\n")
    run(app, ["serve"])
    run(app, ["serve", "--dev"])
    assert [settings.log.level for settings, _ in served] == ["info", "debug"]


def test_serve_does_not_start_with_a_fault(clean: Path, served: list[Any]) -> None:
    result = run(app, ["serve", "--config", "none.toml"])
    assert result.exit_code == 2
    assert "there is no such configuration file" in result.stderr
    assert served == []


@pytest.mark.parametrize(
    ("arguments", "failpoints", "code", "words"),
    [
        (["serve"], "accept-before-commit", 2, "with --dev only"),
        (["serve", "--dev"], "nowhere", 2, "no failpoint"),
        (["serve", "--dev"], "accept-before-commit:2", 3, ""),
    ],
)
def test_failpoints_are_for_development(
    clean: Path,
    served: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    failpoints: str,
    code: int,
    words: str,
) -> None:
    (clean / "postroom.toml").write_text(GOOD)
    monkeypatch.setenv("POSTROOM_FAILPOINTS", failpoints)
    result = run(app, arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert [given for _, given in served] == ([failpoints] if code == 3 else [])


def _emulator(monkeypatch: pytest.MonkeyPatch, answer: Exception | None) -> list[SimpleNamespace]:
    calls: list[SimpleNamespace] = []

    def stand_in(**given: object) -> None:
        calls.append(SimpleNamespace(**given))
        if answer is not None:
            raise answer

    module = ModuleType("app.emulator")
    module.run = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "app.emulator", module)
    return calls


def test_the_emulator_gets_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _emulator(monkeypatch, None)
    arguments = ["--port", "0", "--http-port", "8026", "--host", "::1", "--ca-out", "ca.pem", "--config", "e.toml"]
    assert run(app, ["emulator", *arguments]).exit_code == 0
    assert calls == [SimpleNamespace(host="::1", port=0, http_port=8026, ca_out=Path("ca.pem"), config=Path("e.toml"))]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (ValueError("accounts 1: password is missing"), 2, "accounts 1: password is missing\n"),
        (OSError(98, "Address already in use"), 3, "cannot start: Address already in use\n"),
    ],
)
def test_trouble_of_the_emulator_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, answer: Exception, code: int, words: str
) -> None:
    _emulator(monkeypatch, answer)
    result = run(app, ["emulator"])
    assert (result.exit_code, result.stderr) == (code, words)
