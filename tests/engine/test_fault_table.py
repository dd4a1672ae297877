"""Faults × phases: whatever a server or a network does, no message is lost, none knowingly doubled, and the rows, the
timeline and the remote agree about it.

Each row is a story; see ``stories``. Time-outs are those of production, passed by moved time. A session that broke is
replaced by the next before its mailbox looks for more mail, so a cut costs one connection more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.rows_at_the_dot import AT_THE_DOT, NOT_OFFERED
from tests.engine.rows_before_a_session import BEFORE_A_SESSION
from tests.engine.rows_before_the_dot import CUT_BEFORE_THE_DOT, REFUSED_ENVELOPES
from tests.engine.stories import Story, tell

TABLE = (*BEFORE_A_SESSION, *CUT_BEFORE_THE_DOT, *REFUSED_ENVELOPES, *AT_THE_DOT, *NOT_OFFERED)


@pytest.mark.parametrize("story", TABLE, ids=str)
async def test_fault(story: Story, tmp_path: Path) -> None:
    await tell(story, tmp_path)


def test_the_table_is_long_enough_and_each_row_is_a_sentence_of_its_own() -> None:
    names = [story.name for story in TABLE]
    assert len(names) >= 40
    assert len(set(names)) == len(names)
