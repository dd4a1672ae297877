from __future__ import annotations

import pytest

from app.settings import not_yet


@pytest.fixture
def everything_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every row out of the table of what is not supported yet."""
    monkeypatch.setattr(not_yet, "NOT_YET", ())
