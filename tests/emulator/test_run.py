"""The emulator as a program: its configuration file, its output, its end."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from app.emulator import Action, Fault, Limits, Phase, TokenFault
from app.emulator.run import read_config

GOOD = """
names = ["emulator"]

[[accounts]]
address = "noreply@contoso.test"
password = "secret"
send_as = ["*@contoso.test"]

[[accounts]]
address = "*@sales.test"

[[apps]]
client_id = "app"
secrets = ["secret"]

[[faults]]
recipient = "ada@customer.test"
phase = "dot"
reply = "451 4.7.0 Busy"
times = 2

[[faults]]
action = "no-starttls"
session = 1

[[faults]]
named = "mailbox-full"
recipient = "bob@customer.test"

[[faults]]
phase = "token"
aadsts = 7000215

[limits]
sessions = 2

[latency]
dot = 0.5
"""


def test_a_file_gives_the_emulator_s_arguments(tmp_path):
    path = tmp_path / "emulator.toml"
    path.write_text(GOOD, encoding="utf-8")
    settings = read_config(path)
    assert [account.address for account in settings["accounts"]] == ["noreply@contoso.test", "*@sales.test"]
    first, second, third, token = settings["faults"]
    assert isinstance(first, Fault)
    assert (first.phase, first.times) == (Phase.DOT, 2)
    assert (second.phase, second.action) == (Phase.EHLO, Action.NO_STARTTLS)
    assert (third.phase, third.reply[:9]) == (Phase.DOT, "554 5.2.2")
    assert isinstance(token, TokenFault)
    assert settings["limits"] == Limits(sessions=2)
    assert (settings["latency"], settings["names"]) == ({Phase.DOT: 0.5}, ["emulator"])


def test_every_fault_of_a_file_is_told_at_once_and_no_password(tmp_path):
    path = tmp_path / "emulator.toml"
    path.write_text(
        'colour = "red"\nnames = "x"\n[[accounts]]\naddress = "nobody"\npassword = "hidden"\n[[accounts]]\n'
        'password = 4711\naddress = "a@b.test"\n[faults]\nphase = "dot"\n[limits]\nsessions = -1\n'
        "[latency]\nmoon = 1\n",
        encoding="utf-8",
    )
    with pytest.raises(ValueError) as problem:
        read_config(path)
    lines = [line.removeprefix(f"{path}: ") for line in str(problem.value).splitlines()]
    assert lines[0] == "colour is not known"
    assert lines[1].startswith("accounts 1: an account's address")
    assert lines[2] == "accounts 2: password is a text"
    assert lines[3] == "faults is a list: write [[faults]]"
    assert lines[4].startswith("limits: sessions is 0 (none) or more")
    assert lines[5].startswith("latency: phase is one of")
    assert lines[6] == "names is a list of host names"
    assert "hidden" not in str(problem.value)
    assert "4711" not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot be read"), ("x = [", "is not TOML"), (b"\xff", "is not TOML")]
)
def test_a_file_that_cannot_be_read_is_told_so(tmp_path, text, words):
    path = tmp_path / "emulator.toml"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValueError, match=words):
        read_config(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_says_where_it_listens_and_ends_in_order(tmp_path, number):
    authority = tmp_path / "ca.pem"
    program = (
        "from pathlib import Path; from app.emulator import run; "
        f"run(host='127.0.0.1', port=0, http_port=0, ca_out=Path({str(authority)!r}), config=None)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        lines.append((await asyncio.wait_for(process.stdout.readline(), 20)).decode())
        assert lines[-1], lines
    assert lines[0].startswith("SMTP   127.0.0.1:")
    assert lines[1].startswith("HTTP   http://127.0.0.1:")
    assert authority.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    port = int(lines[0].split()[1].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"220 ")
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    writer.transport.abort()
