"""The whole content corpus, posted to the real service, arrives unharmed through servers that are not ours.

Each server takes it over several sessions: once with commands in flight together, once one at a time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.interop.corpus import Letter, corpus
from tests.interop.daemon import PASSWORD, SENDER, Daemon
from tests.interop.dovecot import Dovecot
from tests.interop.exim import Exim
from tests.interop.postfix import Postfix
from tests.interop.sink import Arrived, Sink
from tests.mail.letters import decoded, parsed, read, unfolded
from tests.support.processes import ServiceProcess

pytestmark = pytest.mark.programs

CORPUS = list(corpus())
SESSIONS = 3
PATIENCE = 60.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def dovecot(authority: trustme.CA, sink: Sink, _stack: ExitStack) -> Daemon:
    return Dovecot(authority, sink.port)


def exim(authority: trustme.CA, sink: Sink, _stack: ExitStack) -> Daemon:
    return Exim(authority, sink.port)


def postfix(authority: trustme.CA, sink: Sink, stack: ExitStack) -> Daemon:
    judge = Dovecot(authority, sink.port)
    stack.enter_context(judge)
    return Postfix(authority, sink.port, judge)


Make = Callable[[trustme.CA, Sink, ExitStack], Daemon]


@pytest.fixture(scope="module", params=[postfix, dovecot, exim], ids=lambda make: make.__name__)
def server(request: pytest.FixtureRequest, authority: trustme.CA, sink: Sink) -> Iterator[Daemon]:
    make: Make = request.param
    with ExitStack() as stack:
        yield stack.enter_context(make(authority, sink, stack))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("pipelining", ["true", "false"], ids=["pipelining", "one-at-a-time"])
def test_the_corpus_arrives_unharmed(
    server: Daemon, sink: Sink, authority: trustme.CA, tmp_path: Path, pipelining: str
) -> None:
    connection = f'profile = "plain"\npipelining = {pipelining}\nlimits = {{ sessions = {SESSIONS} }}'
    before = server.sessions()
    ours = [letter for letter in CORPUS if server.offers_smtputf8 or not letter.needs_smtputf8]
    with (
        ServiceProcess(tmp_path, server.port, authority.cert_pem.bytes(), PASSWORD, connection=connection) as service,
        service.client() as http,
    ):
        identities = post(http, ours)
        arrived = sink.take(sum(len(letter.recipients) for letter in ours), PATIENCE)
        results = {name: await_end(http, identity) for name, identity in identities.items()}
        for letter in CORPUS:
            if letter not in ours:
                # It cannot be written for this server, and is refused instead of being bent.
                refused = http.post("/v1/messages", json=letter.body)
                assert (refused.status_code, refused.json()["code"]) == (422, "smtputf8-required")
    by_name = defaultdict(list)
    for each in arrived:
        by_name[str(parsed(each.content)["X-Corpus"])].append(each)
    assert sorted(by_name) == sorted(letter.name for letter in ours)
    for letter in ours:
        compare(letter, by_name[letter.name])
        assert results[letter.name]["status"] == "sent", results[letter.name]
    assert 2 <= server.sessions() - before <= SESSIONS


def post(http: httpx.Client, letters: list[Letter]) -> dict[str, str]:
    """Post the letters, several at a time, as callers do; return the identity of each."""

    def one(letter: Letter) -> str:
        answer = http.post("/v1/messages", json=letter.body)
        assert answer.status_code == 202, f"{letter.name}: {answer.text}"
        return str(answer.json()["id"])

    with ThreadPoolExecutor(4) as hands:
        return dict(zip([letter.name for letter in letters], hands.map(one, letters), strict=True))


def await_end(http: httpx.Client, identity: str) -> dict[str, Any]:
    """Return a message when nothing of it waits any more."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        message: dict[str, Any] = http.get(f"/v1/messages/{identity}").json()
        if message["status"] not in ("queued", "sending", "deferred"):
            return message
        time.sleep(0.05)
    raise AssertionError(message)


def compare(letter: Letter, arrived: list[Arrived]) -> None:
    """Assert that what arrived is what was posted: envelope, addresses, subject, bodies, files, headers, no Bcc."""
    named = [address for each in arrived for address in each.recipients]
    assert sorted(named) == sorted(letter.recipients), letter.name
    for each in arrived:
        assert each.return_path == SENDER
        message = parsed(each.content)
        assert message["Bcc"] is None
        assert [name.lower() for name in message].count("date") == 1
        assert [name.lower() for name in message].count("message-id") == 1
        found = read(each.content)
        # A letter to hidden recipients alone has a To that names nobody (RFC 5322 §3.4).
        assert {field: people for field, people in found.addresses.items() if people} == letter.addresses, letter.name
        assert found.subject == letter.body["subject"], letter.name
        assert found.parts == letter.parts, letter.name
        for name, value in letter.headers.items():
            assert decoded(unfolded(message, name) or "") == value, (letter.name, name)
