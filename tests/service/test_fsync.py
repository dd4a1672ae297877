"""Evidence from the system's own calls that a 202 stands on a sync, and what a service does whose sync has failed.

The service runs under strace, which notes (or spoils) its calls; the store's own evidence, power losses included, is in
tests/queue/test_durability.py.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.processes import POSTROOM, SENDER, EmulatorProcess, ServiceProcess
from tests.support.waiting import ended

STRACE = shutil.which("strace")

pytestmark = pytest.mark.programs  # strace

_CALL = re.compile(r"^(?P<thread>\d+)\s+(?P<name>\w+)\((?P<rest>.*)$", re.DOTALL)
_RESUMED = re.compile(r"^(?P<thread>\d+)\s+<\.\.\. (?P<name>\w+) resumed>")
_SYNCS = {"fsync", "fdatasync"}
_SENDS = {"write", "writev", "sendto", "sendmsg"}


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: at which line it began and ended, and what it was given."""

    name: str
    began: int
    ended: int
    given: str


def calls(lines: list[str]) -> Iterator[Call]:
    """Read the notes of strace; a call that others interrupt has two lines."""
    open_calls: dict[str, tuple[str, int, str]] = {}
    for number, line in enumerate(lines):
        if found := _CALL.match(line):
            if line.rstrip().endswith("<unfinished ...>"):
                open_calls[found["thread"]] = (found["name"], number, found["rest"])
            else:
                yield Call(found["name"], number, number, found["rest"])
        elif (found := _RESUMED.match(line)) and found["thread"] in open_calls:
            name, began, given = open_calls.pop(found["thread"])
            yield Call(name, began, number, given)


def traced(folder: Path, emulator: EmulatorProcess, *options: str) -> ServiceProcess:
    """Return a service that will run under strace; its notes go to a file ``calls`` in the folder."""
    # -D: the service is our child and strace the stranger, so that signals and exit code are the service's.
    program = (str(STRACE), "-D", "-f", "-y", "--seccomp-bpf", "-o", folder / "calls", *options, POSTROOM)
    retry = '[delivery]\nretry = ["1s"]'
    return ServiceProcess(folder, emulator.port, emulator.ca_pem, emulator.PASSWORD, program=program, top=retry)


def untraced(service: ServiceProcess) -> list[str | Path]:
    """Return a traced service's command without strace."""
    return [POSTROOM, *service.command[service.command.index(POSTROOM) + 1 :]]


def post(client: httpx.Client, number: int) -> httpx.Response | None:
    letter = {"from": SENDER, "to": f"r{number}@customer.test", "subject": f"{number}", "text": "Hello"}
    try:
        return client.post("/v1/messages", json=letter, headers={"Idempotency-Key": f"letter-{number}"})
    except httpx.HTTPError:
        return None


def test_every_202_leaves_after_a_sync_that_covers_the_message(tmp_path: Path, emulator: EmulatorProcess) -> None:
    """The log's write that carries the id, then a sync of the log, begun later and ended, then the answer."""
    trace = ("-s", "4200", "-e", "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg")
    with traced(tmp_path, emulator, *trace) as service:
        with service.client() as client, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: post(client, number), range(80)))
        assert service.terminate() == 0
    accepted = [answer.json()["id"] for answer in answers if answer is not None and answer.status_code == 202]
    assert len(accepted) == 80
    writes: dict[str, int] = {}
    answered: dict[str, int] = {}
    syncs = []
    for call in calls(_notes(tmp_path / "calls")):
        descriptor = call.given.partition(",")[0]
        if call.name in _SYNCS and "postroom.db-wal" in descriptor:
            syncs.append(call)
        elif call.name == "pwrite64" and "postroom.db-wal" in descriptor:
            for id_ in re.findall(r"msg_[0-9a-zA-Z]+", call.given):
                writes.setdefault(id_, call.ended)
        elif call.name in _SENDS and "HTTP/1.1 202" in call.given:
            for id_ in re.findall(r"msg_[0-9a-zA-Z]+", call.given):
                answered.setdefault(id_, call.began)
    for id_ in accepted:
        covering = [sync for sync in syncs if writes[id_] < sync.began and sync.ended < answered[id_]]
        assert covering, f"{id_}: written at {writes[id_]}, answered at {answered[id_]}"
    assert len(syncs) < 3 * len(accepted) + 50, "they share commits"


@pytest.mark.parametrize(("call", "nth"), [("fsync,fdatasync", 60), ("pwrite64", 400)])
def test_a_sync_or_a_write_that_fails_ends_the_process_and_is_never_acknowledged(
    tmp_path: Path, emulator: EmulatorProcess, call: str, nth: int
) -> None:
    """The failing commit is answered 503; the next start keeps every 202."""
    spoilt = ("-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={nth}")
    told: dict[int, str] = {}
    service = traced(tmp_path, emulator, *spoilt)
    spoiling, service.command = service.command, untraced(service)
    with service:  # it makes its store undisturbed
        assert service.terminate() == 0
        service.command = spoiling
        service.start()
        with service.client() as client, ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda number: post(client, number), range(300)))
        assert service.wait(15) == 1, "it waited for outcomes that it could not have recorded"
        assert "EIO" in (tmp_path / "calls").read_text()
        statuses: dict[int, int] = defaultdict(int)
        for number, answer in enumerate(answers):
            statuses[answer.status_code if answer is not None else 0] += 1
            if answer is not None and answer.status_code == 202:
                told[number] = answer.json()["id"]
        assert told, statuses
        assert set(statuses) <= {0, 202, 503}
        service.command = untraced(service)
        service.start()
        with service.client() as client:
            views = {number: ended(client, id_) for number, id_ in told.items()}
            repeated = {number: post(client, number) for number in told}
    assert {view["status"] for view in views.values()} <= {"sent", "unknown"}
    arrived = {each["message_id"] for each in emulator.messages() if each["accepted"]}
    assert {view["message_id"] for view in views.values() if view["status"] == "sent"} <= arrived
    for number, id_ in told.items():
        again = repeated[number]
        assert again is not None
        assert again.json()["id"] == id_


def _notes(file: Path) -> list[str]:
    """Return the lines once strace has written the last."""
    until = time.monotonic() + 20
    while True:
        text = file.read_text(errors="replace")
        if "+++ exited with 0 +++" in text.rstrip().rpartition("\n")[2] or time.monotonic() > until:
            return text.split("\n")
        time.sleep(0.05)
