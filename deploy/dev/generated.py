"""Writes what is generated from the code, or (``--check``) fails where a committed file differs from it."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from app.api.openapi import document_text
from app.mail.replies.markdown import render_markdown
from app.settings.documents import env_example, reference
from app.web.problems import problems_page

GENERATED = {
    ".env.example": env_example,
    "docs/configuration.md": reference,
    "docs/openapi.json": partial(document_text, version("postroom")),
    "docs/problems.md": problems_page,
    "docs/replies.md": render_markdown,
}


def main() -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    stale = []
    for name, render in GENERATED.items():
        path, text = Path(name), render()
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} is not what the code generates: run make generated", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
