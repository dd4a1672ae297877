"""The documents that people read, and what is found in them: links, headings, code, commands. Pure but for reading.

Generated pages and the handwritten ones are read alike; a page is found wherever it lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        path
        for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "deploy/*.md", "bench/*.md")
        for path in ROOT.glob(pattern)
    )
)

_FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_ANCHOR = re.compile(r'<a id="([^"]+)"')
# The program's name where a command begins, and the words behind it.
_COMMAND = re.compile(
    r"(?:^|[$|;:(] |&& )\s*(?:[\w/~.]*/bin/)?postroom((?: +[a-z][a-z-]*)*(?: +[^`|&>#\n]*)?)", re.MULTILINE
)
_OPTION = re.compile(r"(?<=\s)--[a-z][a-z-]*")


@dataclass(frozen=True)
class Block:
    """A block of code: its language, its text, and the line on which it begins."""

    language: str
    text: str
    line: int


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[Block]:
    """Every block of code of a page, without the indentation it has in a list."""
    text = text_of(page)
    for found in _FENCE.finditer(text):
        body = "".join(line.removeprefix(found[1]) for line in found[3].splitlines(keepends=True))
        yield Block(found[2], body, text.count("\n", 0, found.start()) + 1)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def links(page: Path) -> Iterator[str]:
    """Every link of a page that stays in this repository."""
    for target in _LINK.findall(_SPAN.sub("", prose(page))):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """What may stand behind ``#`` in a link to a page: its headings as GitHub names them, and its own anchors."""
    text = prose(page)
    names: set[str] = set(_ANCHOR.findall(text))
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        names.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return names


def commands(page: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Every call of the console script in a page's code: its words, and its long options."""
    pieces = [block.text for block in blocks(page) if block.language in ("", "sh", "console", "powershell", "toml")]
    pieces += _SPAN.findall(prose(page))
    for piece in pieces:
        for found in _COMMAND.finditer(piece.replace("\\\n", " ")):
            words = list(takewhile(_is_word, found[1].split()))
            if words or found[1].strip():
                yield words, _OPTION.findall(found[1])


def _is_word(part: str) -> bool:
    return re.fullmatch(r"[a-z][a-z-]*", part) is not None
