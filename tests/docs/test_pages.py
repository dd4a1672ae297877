"""What the documents point at exists: links, commands and their options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from app import cli
from tests.docs.reading import PAGES, ROOT, anchors, commands, links


@pytest.fixture(scope="module")
def program() -> Any:
    """Every command of the console script; they are brought together when it runs. (typer has a click of its own.)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["postroom", "--version"])
        with pytest.raises(SystemExit):
            cli.main()
    return typer.main.get_command(cli.app)


def of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_command_that_is_named_exists(page: Path, program: Any) -> None:
    for words, options in commands(page):
        command = program
        for word in words:
            if not hasattr(command, "commands"):
                break  # what follows are arguments
            assert word in command.commands, f"postroom {' '.join(words)}"
            command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(options) <= known | {"--help"}, f"postroom {' '.join(words)}: {options}"


def test_every_command_is_told_of_in_some_page(program: Any) -> None:
    """So that the test above looks at something."""
    told = {tuple(words) for page in PAGES for words, _ in commands(page)}
    paths = [
        (name, *inner)
        for name, command in program.commands.items()
        for inner in ([(each,) for each in command.commands] if hasattr(command, "commands") else [()])
    ]
    untold = [path for path in paths if not any(words[: len(path)] == path for words in told)]
    # These write what is generated and committed.
    assert set(untold) <= {("config", "env-example"), ("config", "reference")}
