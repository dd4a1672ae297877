"""The crash tests in their short form; the long one is ``make crash``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from app.kit.failpoints import POINTS
from tests.crash import killing, pacing


@pytest.mark.timeout(240)
def test_a_service_killed_at_every_point_of_the_journey_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    found = killing.run(tmp_path, kills=20, seed=4)
    print(found.table())
    assert not found.faults, found.faults
    assert found.kills == Counter({**dict.fromkeys(POINTS, 1), killing.RANDOM: 10})


@pytest.mark.timeout(240)
def test_restarts_never_make_the_server_see_more_than_it_allows(tmp_path: Path) -> None:
    seen = pacing.run(tmp_path, restarts=5, seconds=20.0, seed=4)
    print(seen.table())
    assert not seen.faults()
