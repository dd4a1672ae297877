"""What the tests of the wire share: an authority, a server's certificate, and pools that are closed again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import trustme
import uvloop

from app.smtp import tls_context
from tests.support.manual_clock import ManualClock
from tests.support.smtp_stage import MakePool, pools

# Production runs on uvloop, development on macOS may run on asyncio's own loop; what depends on how a loop moves octets
# and names its errors is told on both, the long tables on one.
_LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_ON_ONE = {"test_faults": "uvloop", "test_sign_in": "uvloop", "test_secrets": "uvloop", "test_emulator": "asyncio"}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    only = _ON_ONE.get(item.path.stem)
    return {only: _LOOPS[only]} if only else _LOOPS


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "ca.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path


@pytest.fixture(scope="session")
def trust(ca_file: Path) -> ssl.SSLContext:
    return tls_context(ca_file)


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def make_pool(trust: ssl.SSLContext) -> AsyncIterator[MakePool]:
    async with pools(trust) as make:
        yield make
