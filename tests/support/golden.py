"""Compares what is generated with what is committed; ``UPDATE_DOCS=1`` writes it anew instead."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def compare(name: str, text: str) -> None:
    """Fail unless the file (a path from the root) holds exactly ``text``."""
    path = ROOT / name
    if os.environ.get("UPDATE_DOCS") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name} is out of date: run the tests with UPDATE_DOCS=1"
