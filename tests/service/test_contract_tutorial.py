"""docs/api.md tells the truth: its examples are taken out of it and run against a service, and say what it says.

curl and Python always; C# where Mono is installed, PowerShell where it is. The PowerShell example is also read here,
since few machines of ours have it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.query import STATUSES
from app.api.schemas import MessageIn
from app.api.shapes import EXAMPLES
from tests.support.processes import SENDER, EmulatorProcess, ServiceProcess

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
TABLE = re.compile(r"^\$(\w+) = @\{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
DESK = "billing@contoso.test"
# Mono knows HttpClient and not System.Text.Json, and no asynchronous Main; this stands in for both.
STAND_IN = """
namespace System.Text.Json
{
    public static class JsonSerializer
    {
        public static string Serialize<TValue>(TValue value)
        {
            return new System.Web.Script.Serialization.JavaScriptSerializer().Serialize(value);
        }
    }
}
public static class Entry
{
    public static void Main() { Program.Main().GetAwaiter().GetResult(); }
}
"""


def blocks(language: str) -> list[str]:
    """Return the examples of a language in their order, with a sender that is there."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT.replace(DESK, SENDER), re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody who follows the page on a machine where Postroom runs."""

    def __init__(self, service: ServiceProcess, emulator: EmulatorProcess) -> None:
        self.folder = service.folder
        self._emulator = emulator
        own = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        self._environment = {**own, "MAIL_URL": service.base, "MAIL_KEY": service.key}

    def run(self, *command: str | Path, text: str = "") -> str:
        """Run a program in the reader's folder and return what it prints; it must end well."""
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, cwd=self.folder, env=self._environment, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def arrived(self, count: int) -> int:
        """Wait until so many messages have come to the other end since the last call; return how many have."""
        until = time.monotonic() + 20
        while len(self._emulator.messages()) < count and time.monotonic() < until:
            time.sleep(0.05)
        found = len(self._emulator.messages())
        self._emulator.forget()
        return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("tutorial")
    with (
        EmulatorProcess(folder, sessions=0, messages_per_minute=0, recipients_per_day=0) as emulator,
        ServiceProcess(folder, emulator.port, emulator.ca_pem, EmulatorProcess.PASSWORD) as service,
    ):
        yield Reader(service, emulator)


def test_what_it_does_with_curl_works(reader: Reader) -> None:
    examples = blocks("sh")
    assert all("export " in each or "curl -sS" in each for each in examples)
    told = [reader.run("bash", "-euo", "pipefail", text=each) for each in examples if "export " not in each]
    assert len(told) >= 7
    whole = "\n".join(told)
    assert whole.count("Idempotent-Replayed: true") + whole.count("idempotent-replayed: true") == 1
    assert '"object":"dry_run"' in whole
    assert json.loads(told[1])["subject"] == "Hello"
    problem = json.loads(told[-1])
    shown = json.loads(blocks("json")[-1])
    assert problem["errors"] == shown["errors"]
    assert problem.keys() == shown.keys()
    assert reader.arrived(4) == 4


def test_what_it_does_with_python_works(reader: Reader) -> None:
    examples = blocks("python")
    assert len(examples) >= 9
    printed = reader.run(sys.executable, "-W", "error", "-", text="\n".join(examples))
    assert "the outcome is sent" in printed
    assert re.findall(r"^(scheduled|canceled)$", printed, re.MULTILINE) == ["scheduled", "canceled", "scheduled"]
    assert "message.accepted" in printed or "message.scheduled" in printed
    assert reader.arrived(6) == 6


def test_the_answers_it_shows_have_the_fields_of_real_ones() -> None:
    acceptance = json.loads(blocks("json")[0])
    assert acceptance.keys() == EXAMPLES["Acceptance"].keys()
    assert set(re.findall(r"`(\w+)`", TEXT.partition("| status | it means |")[2].partition("*Sent*")[0])) == set(
        STATUSES
    )


@pytest.mark.programs
def test_what_it_does_with_c_sharp_works(reader: Reader) -> None:
    (example,) = blocks("csharp")
    (reader.folder / "Example.cs").write_text(example, encoding="utf-8")
    (reader.folder / "StandIn.cs").write_text(STAND_IN, encoding="utf-8")
    libraries = ("-r:System.Net.Http.dll", "-r:System.Web.Extensions.dll")
    strict = ("-langversion:latest", "-warnaserror", "-nowarn:28", "-main:Entry")
    reader.run("mcs", *strict, *libraries, "-out:example.exe", "Example.cs", "StandIn.cs")
    printed = reader.run("mono", "example.exe")
    assert [json.loads(line)["object"] for line in printed.splitlines()] == ["message", "message"]
    assert reader.arrived(1) == 1


def test_the_powershell_example_is_well_formed() -> None:
    """Quotes and brackets close, names exist, the fields are ours, the parameters those of Invoke-RestMethod."""
    (example,) = blocks("powershell")
    bare = re.sub(r"#.*|'[^'\n]*'", "", example)
    for inner in re.findall(r'"([^"\n]*)"', bare):
        assert inner.count("(") == inner.count(")")
    bare = re.sub(r'"[^"\n]*"', "", bare)
    assert not set(bare) & {"'", '"'}
    for opening, closing in ("{}", "()", "[]"):
        assert bare.count(opening) == bare.count(closing)
    assigned = set(re.findall(r"^\s*\$(\w+)\s*=", example, re.MULTILINE))
    used = set(re.findall(r"[$](\w+)\b(?!:)|(?<= )@(\w+)", example))
    assert {one or other for one, other in used} - {"_"} == assigned
    tables = {name: re.findall(r"^ {4}(\w+) +=", body, re.MULTILINE) for name, body in TABLE.findall(example)}
    assert set(tables["message"]) <= {field.alias or name for name, field in MessageIn.model_fields.items()}
    assert set(tables["request"]) <= {"Method", "Uri", "Headers", "ContentType", "Body"}
