"""``postroom config …``: faults or ok, the exit code, and what is printed about the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.settings.documents import env_example, reference
from tests.support.configuration import GOOD, SECRET, changed

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, without variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("POSTROOM_CONFIG", "POSTROOM_FAILPOINTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_good_configuration_is_ok_with_a_summary(clean: Path) -> None:
    (clean / "postroom.toml").write_text(GOOD)
    result = run(app, ["config", "check"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "ok: postroom.toml",
        "mailbox noreply: noreply@contoso.test at 127.0.0.1:2525, signs in by password",
        "tenant billing: 1 key, billing@contoso.test, *@contoso.test",
        "operators: 0 keys",
    ]


def test_faults_go_to_stderr_with_place_problem_and_cure_and_the_code_is_2(clean: Path) -> None:
    path = clean / "other.toml"
    path.write_text(changed("port = 2525", "port = 25") + "[servr]\n")
    result = run(app, ["config", "check", "--config", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"{path}: 2 faults\n"
        "\n"
        "connections.contoso.port: is refused: port 25 is for mail between servers, often blocked, and takes no "
        "sign-in\n"
        "    use 587 (submission with STARTTLS)\n"
        "servr: is not a setting\n"
        "    did you mean server?\n"
    )


def test_the_file_is_named_by_option_or_variable_or_lies_here(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postroom", "variable", "option"):
        (clean / f"{name}.toml").write_text(GOOD)
    assert run(app, ["config", "check"]).stdout.startswith("ok: postroom.toml")
    monkeypatch.setenv("POSTROOM_CONFIG", "variable.toml")
    assert run(app, ["config", "check"]).stdout.startswith("ok: variable.toml")
    assert run(app, ["config", "check", "--config", "option.toml"]).stdout.startswith("ok: option.toml")


@pytest.mark.parametrize(
    "spoiled",
    [
        changed("port = 2525", "port = 25"),
        changed(f'"{SECRET}"', f'"{SECRET}", username = 3'),
        changed(f'password = "{SECRET}"', f'passwort = "{SECRET}"'),
        changed(f'"{SECRET}"', f'"{SECRET}\\u0007"'),
        changed(f'"{SECRET}"', f'["{SECRET}"]'),
        changed(f'"{SECRET}" }}', f'"{SECRET}"'),
        changed("password =", f'password_file = "{SECRET}"\npassword ='),
        f"{SECRET}\n{GOOD}",
        GOOD,
    ],
)
def test_no_secret_is_ever_printed(clean: Path, spoiled: str) -> None:
    (clean / "postroom.toml").write_text(spoiled)
    for command in (["config", "check"], ["serve"] if spoiled != GOOD else ["config", "check"]):
        result = run(app, command)
        assert SECRET not in result.output
        assert result.exit_code == (0 if spoiled == GOOD else 2)


def test_a_secret_of_the_environment_is_not_printed_either(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean / "postroom.toml").write_text(GOOD)
    monkeypatch.setenv("POSTROOM_MAILBOXES__NOREPLY__PASSWORD", SECRET + "\n")
    monkeypatch.setenv("POSTROOM_MAILBOXES__NOREPLY__PASSWD", SECRET)
    monkeypatch.setenv("POSTROOM_STORE__QUEUE_LIMIT", SECRET)
    monkeypatch.setenv("POSTROOM_TENANTS__BILLING__KEYS", SECRET)
    result = run(app, ["config", "check"])
    assert result.exit_code == 2
    assert "4 faults" in result.stderr
    assert SECRET not in result.output


def test_the_generated_texts_are_printed_without_a_configuration() -> None:
    assert json.loads(run(app, ["config", "schema"]).stdout)["title"] == "Postroom configuration"
    assert run(app, ["config", "env-example"]).stdout == env_example()
    assert run(app, ["config", "reference"]).stdout == reference()
