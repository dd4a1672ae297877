"""Lets the assertions of the stories' helpers explain themselves, as those of tests do."""

import pytest

pytest.register_assert_rewrite("tests.engine.stories", "tests.engine.stage")
