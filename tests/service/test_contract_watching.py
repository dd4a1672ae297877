"""What an operator sees of the running service: health on both listeners, the agreed metrics, a line for each event."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx

from app.emulator import Account, Emulator
from tests.support.contract import LETTER
from tests.support.processes import SENDER, ServiceProcess

# The names that dashboards and alerts are written against (suffixes of histograms and counters left out).
METRICS = [
    *("http_request_duration_seconds", "messages_accepted", "requests_refused", "recipients", "attempts"),
    *("smtp_duration_seconds", "smtp_replies", "queue_messages", "queue_oldest_age_seconds"),
    *("delivery_latency_seconds", "message_size_bytes", "smtp_throttled", "token_refresh", "idempotent_replays"),
    *("build_info", "credential_expiry_seconds", "mailbox_parked", "mailbox_sessions", "mailbox_window_used"),
    *("smtp_connect_failures", "store_free_bytes"),
]
BODY, SUBJECT, GUEST = "please find the invoice", "Invoice 8812", "ada@customer.test"


async def test_health_metrics_and_log_tell_what_happened_and_no_secret(tmp_path: Path) -> None:
    async with Emulator([Account(SENDER, "pass-word-7")]) as emulator:

        def story() -> tuple[str, str, str]:
            running = ServiceProcess(tmp_path, emulator.port, emulator.ca_pem, "pass-word-7")
            with running as service, service.client() as client:
                headers = {"Prefer": "wait=10", "X-Request-Id": "shop-4711", "Idempotency-Key": "order-1"}
                letter = {**LETTER, "bcc": GUEST}
                sent = client.post("/v1/messages", json=letter, headers=headers)
                assert (sent.status_code, sent.headers["x-request-id"]) == (200, "shop-4711")
                assert client.post("/v1/messages", json={}).status_code == 422
                management = f"http://127.0.0.1:{service.management}"
                for base in (service.base, management):
                    for path in ("/livez", "/readyz", "/startupz"):
                        answer = httpx.get(base + path, trust_env=False)
                        assert (answer.status_code, answer.text) == (200, "ok")
                        assert answer.headers["cache-control"] == "no-store"
                assert client.get("/metrics").status_code == 404
                metrics = httpx.get(f"{management}/metrics", trust_env=False).text
                until = time.monotonic() + 5
                while service.log().count('"request"') < 3 and time.monotonic() < until:
                    time.sleep(0.02)
                assert service.terminate() == 0
                return metrics, service.log(), service.key

        metrics, log, key = await asyncio.to_thread(story)
    for name in METRICS:
        assert f"# TYPE postroom_{name}" in metrics, name
    assert 'postroom_messages_accepted_total{source="api",tenant="demo"} 1.0' in metrics
    assert 'postroom_recipients_total{result="sent"} 1.0' in metrics
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    told = [(line["request_id"], line["status"], line["route"]) for line in requests[:2]]
    assert told == [("shop-4711", 200, "/v1/messages"), (requests[1]["request_id"], 422, "/v1/messages")]
    assert [line["route"] for line in requests[2:]] == ["unmatched", "/metrics"]  # and no probes
    assert [line.get("message_id") for line in lines if "attempt" in line["event"]] == [requests[0]["message_id"]]
    for word in (key, "pass-word-7", SUBJECT, BODY, GUEST, SENDER):
        assert word not in log.lower() + log, word
        assert word not in metrics
