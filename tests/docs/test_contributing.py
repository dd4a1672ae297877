"""The way into the code is true: targets, rooms and files that it names exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.reading import PAGES, ROOT, blocks, prose, text_of

PAGE = text_of(ROOT / "CONTRIBUTING.md")
TARGETS = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_that_is_named_exists(page) -> None:
    code = re.findall(r"`([^`\n]+)`", prose(page)) + [block.text for block in blocks(page)]
    for piece in code:
        for words in re.findall(r"^make ((?:[a-z]+ ?)+)", piece, re.MULTILINE):
            assert set(words.split()) <= TARGETS, piece


def test_every_file_that_is_named_exists() -> None:
    for path in re.findall(r"`((?:app|tests|deploy|docs|bench|\.ci)/[\w./-]+)`", PAGE):
        if "NNNN" not in path:
            assert (ROOT / path.rstrip("/")).exists(), path


def test_every_room_is_on_the_map() -> None:
    house = PAGE.partition("## The house")[2].partition("```\n\n")[0]
    rooms = {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")}
    assert {room for room in rooms if not re.search(rf"\b{room}\b", house)} == set()
