"""What the tests of sign-in share: a token endpoint, a clock that stands still, and certificates made once."""

from collections.abc import AsyncIterator

import pytest

from tests.support.certificates import Pair, make_pair
from tests.support.manual_clock import ManualClock
from tests.support.token_server import TokenServer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with TokenServer().listening() as serving:
        yield serving


@pytest.fixture(scope="session")
def pair() -> Pair:
    return make_pair()


@pytest.fixture(scope="session")
def other_pair() -> Pair:
    return make_pair()
