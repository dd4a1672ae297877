"""What the delivery promise leans on exists: every test that it names, and a test for every promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.reading import ROOT, text_of

PROMISE = ROOT / "docs/delivery-promise.md"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text_of(PROMISE))))


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda part: part.rpartition("/")[2] or "all")
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert not name or name in functions(ROOT / file)


def test_every_promise_names_its_tests_and_says_where_it_ends() -> None:
    promises = re.split(r"^## (?=\d)", text_of(PROMISE), flags=re.MULTILINE)[1:]
    assert [promise[0] for promise in promises] == list("1234567")
    for promise in promises:
        assert "`tests/" in promise, promise[:40]
        assert "*Not promised.*" in promise, promise[:40]
