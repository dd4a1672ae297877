"""The next hop of the stories with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import EmulatorProcess


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An emulator as a process of its own that allows everything."""
    folder = tmp_path / "emulator"
    folder.mkdir()
    with EmulatorProcess(folder, sessions=0, messages_per_minute=0, recipients_per_day=0) as emulator:
        yield emulator
