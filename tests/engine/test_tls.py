"""TLS that must not be trusted: no credential ever leaves, the mail waits, the cause is readable, and once the server
is mended the mail goes by itself. Once with the engine alone, once with the service as a process.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.emulator import Account, Emulator, Fault
from app.mail.message import Priority
from tests.engine.stage import SENDER, on_stage
from tests.support.processes import ServiceProcess

INJECTED = "250-injected\r\n250 AUTH PLAIN"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A way in which TLS is not what it must be, its reason in the metric, and words that the sentence must hold."""

    name: str
    fault: dict
    reason: str
    words: str

    def __str__(self) -> str:
        return self.name


FLAWS = (
    Flaw("a certificate for another name", {"action": "wrong-name"}, "tls-name", "IP address mismatch"),
    Flaw("an expired certificate", {"action": "expired"}, "tls-expired", "has expired"),
    Flaw("a certificate that is not valid yet", {"action": "not-yet-valid"}, "tls-not-yet-valid", "not yet valid"),
    Flaw("a self-signed certificate", {"action": "self-signed"}, "tls-untrusted", "self-signed"),
    Flaw(
        "a certificate of an unknown authority", {"action": "unknown-ca"}, "tls-untrusted", "local issuer certificate"
    ),
    Flaw("no STARTTLS", {"action": "no-starttls"}, "starttls-missing", "does not offer STARTTLS"),
    Flaw(
        "plaintext injected behind the 220",
        {"action": "inject-plaintext", "reply": INJECTED},
        "injected",
        "nobody asked",
    ),
    Flaw("nothing newer than TLS 1.1", {"action": "old-tls"}, "tls-failed", "TLS failed"),
)


@pytest.mark.parametrize("flaw", FLAWS, ids=str)
async def test_with(flaw: Flaw, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with on_stage(tmp_path, Fault(**flaw.fault)) as stage:
        message = await stage.post()
        await stage.until(lambda: stage.failures())
        assert stage.failures() == {flaw.reason: 1.0}
        outlook = stage.sending.forecaster.outlook("demo", SENDER, Priority.NORMAL, stage.clock.now())
        assert outlook.code == "connection"
        assert flaw.words in (outlook.text or "")
        assert outlook.send_at is not None
        logged = [line for line in capsys.readouterr().out.splitlines() if "connect failed" in line]
        assert len(logged) == 1
        assert f"reason={flaw.reason}" in logged[0]
        assert flaw.words in logged[0]
        await stage.advance(2.0)
        await stage.until(lambda: stage.failures()[flaw.reason] == 2.0)
        assert (stage.work(message), stage.tries(message)) == ("queued", [])
        assert not [line for line in stage.said() if line.startswith(("AUTH", "MAIL"))]
        assert stage.emulator.counters.plaintext_credential_octets == 0
        stage.emulator.faults.clear()
        assert await stage.play(message) == "done"
        assert stage.results(message) == {"ada": "sent 250 2.0.0"}
        assert stage.failures() == {flaw.reason: 2.0}


async def test_no_two_causes_share_a_reason_but_the_two_of_a_chain_that_ends_in_nobody_we_trust() -> None:
    reasons = [flaw.reason for flaw in FLAWS]
    assert sorted(reason for reason in set(reasons) if reasons.count(reason) > 1) == ["tls-untrusted"]


async def test_the_service_says_what_is_wrong_and_sends_by_itself_once_it_is_mended(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "pass-word-7")]) as emulator:
        loop = asyncio.get_running_loop()

        def order(fault: dict | None) -> None:
            """Order one fault in place of all, and end what stands, in the emulator's loop."""

            async def change() -> None:
                emulator.faults.clear()
                if fault is not None:
                    emulator.order(Fault(**fault))
                await emulator.cut_sessions()

            asyncio.run_coroutine_threadsafe(change(), loop).result(5)

        def story() -> str:
            with (
                ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "pass-word-7") as service,
                service.client() as client,
            ):
                for flaw in FLAWS:
                    order(flaw.fault)
                    letter = {"from": SENDER, "to": "ada@customer.test", "subject": flaw.name, "text": "."}
                    identity = client.post("/v1/messages", json=letter).json()["id"]
                    waiting = _until(client, identity, lambda told, flaw=flaw: _waits(told, flaw))
                    assert (waiting["status"], waiting["attempts"]) == ("queued", [])
                    order(None)
                    mended = _until(client, identity, lambda told: told["status"] == "sent")
                    assert len(mended["attempts"]) == 1
                metrics = httpx.get(f"http://127.0.0.1:{service.management}/metrics", timeout=5, trust_env=False).text
                assert "pass-word-7" not in service.log()
                _check_log(service.log(), metrics)
                return metrics

        metrics = await asyncio.to_thread(story)
        for flaw in FLAWS:
            assert _failures(metrics, flaw.reason) >= 1
        sessions = [line.session for line in emulator.transcript if line.what.startswith("AUTH")]
        encrypted = {line.session for line in emulator.transcript if line.what.startswith("<TLSv1.")}
        assert set(sessions) <= encrypted
        assert emulator.counters.plaintext_credential_octets == 0
        assert len(emulator.accepted) == len(FLAWS)


def _until(client: httpx.Client, identity: str, condition, seconds: float = 15.0) -> dict:
    until = time.monotonic() + seconds
    while True:
        told = client.get(f"/v1/messages/{identity}").json()
        if condition(told):
            return told
        assert time.monotonic() < until, told
        time.sleep(0.03)


def _waits(told: dict, flaw: Flaw) -> bool:
    waiting = told["waiting_for"] or {}
    return waiting.get("code") == "connection" and flaw.words in waiting["text"]


def _failures(metrics: str, reason: str) -> float:
    found = re.search(rf'postroom_smtp_connect_failures_total\{{[^}}]*reason="{reason}"[^}}]*\}} ([0-9.]+)', metrics)
    return float(found[1]) if found else 0.0


def _check_log(log: str, metrics: str) -> None:
    """One line for each failure, with the reason that the metric has."""
    reasons = [each["reason"] for line in log.splitlines() if "connect failed" in line and (each := _line(line))]
    for flaw in FLAWS:
        assert reasons.count(flaw.reason) == _failures(metrics, flaw.reason)


def _line(line: str) -> dict[str, str]:
    """A line of the log, as JSON or as ``serve --dev`` writes it."""
    if line.startswith("{"):
        return json.loads(line)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return dict(re.findall(r"(\w+)=('[^']*'|\S+)", plain))
