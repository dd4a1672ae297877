"""The command line's side: how a diagnosis reads, and with which code the command ends."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from app.cli import app
from app.commands import doctor as cli_doctor
from tests.doctor.ward import configuration

OK = {"name": "config", "status": "ok", "tried": "read it", "got": "1 mailbox", "means": "It holds.", "do": ""}
FAIL = {
    "name": "tcp",
    "mailbox": "noreply",
    "status": "fail",
    "tried": "connect",
    "got": "refused",
    "means": "Nobody listens.",
    "do": "Start it.",
}
SKIPPED = {
    "name": "auth",
    "mailbox": "noreply",
    "status": "skipped",
    "tried": "not tried",
    "got": "tcp failed",
    "means": "",
    "do": "",
}
WARN = FAIL | {"status": "warn"}


@pytest.fixture(autouse=True)
def commands() -> None:
    names = {command.callback for command in app.registered_commands}
    if cli_doctor.doctor not in names:
        app.command()(cli_doctor.doctor)
        app.add_typer(cli_doctor.setup_app, name="setup")


def run(
    monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], *words: str
) -> tuple[int, str, list[tuple[str, Any]]]:
    asked: list[tuple[str, Any]] = []

    def ask(_config: Path, _url: str | None, method: str, path: str, *, body: Any) -> dict[str, Any]:
        assert method == "POST"
        asked.append((path, body))
        return {"checks": answers}

    monkeypatch.setattr(cli_doctor, "ask", ask)
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout + result.stderr, asked


def test_a_diagnosis_reads_line_by_line_where_nobody_looks_on() -> None:
    assert list(cli_doctor.plain([OK, FAIL, SKIPPED])) == [
        "ok      config: read it: 1 mailbox",
        "fail    noreply tcp: connect: refused",
        "        means: Nobody listens.",
        "        do: Start it.",
        "skipped noreply auth: tcp failed",
    ]


def test_a_terminal_shows_one_block_for_each_mailbox() -> None:
    out = io.StringIO()
    steps = FAIL | {"do": "In order: (1) Start it. (2) Look."}
    Console(file=out, width=60, highlight=False).print(cli_doctor._table([OK, steps, SKIPPED]))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == [
        "service",
        "  ok       config       read it: 1 mailbox",
        "",
        "mailbox noreply",
        "  fail     tcp          connect: refused",
        "                        means: Nobody listens.",
        "                        do: In order:",
        "                          (1) Start it.",
        "                          (2) Look.",
        "  skipped  auth         tcp failed",
        "",
    ]


@pytest.mark.parametrize(("answers", "code"), [([OK, SKIPPED], 0), ([OK, WARN], 0), ([OK, WARN, FAIL], 1)])
def test_only_a_failed_check_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], code: int
) -> None:
    config = str(configuration(tmp_path, 587))
    assert run(monkeypatch, answers, "doctor", "--config", config)[0] == code


def test_each_mailbox_is_examined_and_what_concerns_all_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(tmp_path, 587)
    more = (
        '[mailboxes.alerts]\naddress = "alerts@contoso.test"\nconnection = "contoso"\npassword = "another-password"\n'
    )
    config.write_text(config.read_text() + more)
    words = ("doctor", "--json", "--send-to", "a@b.test", "--config", str(config))
    code, told, asked = run(monkeypatch, [OK, FAIL], *words)
    assert code == 1
    assert json.loads(told) == {"checks": [OK, FAIL]}
    body = {"force": False, "send_to": "a@b.test"}
    assert asked == [(f"/v1/mailboxes/{name}/doctor", body) for name in ("noreply", "alerts")]


def test_one_mailbox_may_be_named_and_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = str(configuration(tmp_path, 587))
    code, _, asked = run(monkeypatch, [OK], "doctor", "noreply", "--force", "--config", config)
    assert (code, asked) == (0, [("/v1/mailboxes/noreply/doctor", {"force": True})])
    code, told, asked = run(monkeypatch, [OK], "doctor", "nobody", "--config", config)
    assert (code, asked) == (1, [])
    assert "there is no mailbox nobody; there is noreply" in told


def test_without_a_mailbox_the_configuration_is_examined_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "postroom.toml"
    config.write_text('[store]\nurl = "sqlite:///postroom.db"\n')
    code, told, asked = run(monkeypatch, [OK], "doctor", "--config", str(config))
    assert (code, asked) == (0, [])
    assert "Add a [mailboxes.NAME] table." in told


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_faulty_configuration_ends_it_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    config = configuration(tmp_path, 587)
    config.write_text(config.read_text() + "colour = 1\n")
    code, told, asked = run(monkeypatch, [OK], "doctor", *words, "--config", str(config))
    assert (code, asked) == (2, [])
    assert "colour" in told
    if words:
        (check,) = json.loads(told)["checks"]
        assert (check["name"], check["status"]) == ("config", "fail")


def test_the_set_up_is_printed(tmp_path: Path) -> None:
    config = configuration(tmp_path, 587)
    config.write_text(config.read_text().replace('profile = "plain"', ""))
    result = CliRunner().invoke(app, ["setup", "exchange", "--config", str(config)])
    assert result.exit_code == 0
    assert "Connect-ExchangeOnline\n" in result.stdout
    assert "    'noreply@contoso.test'\n" in result.stdout
