"""The figures have the names and labels of the contract."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from app.kit.metrics import Metrics

NAMES = """
postroom_http_request_duration_seconds{method,route,status} postroom_messages_accepted_total{tenant,source}
postroom_requests_refused_total{tenant,reason} postroom_recipients_total{result}
postroom_attempts_total{outcome,scope} postroom_smtp_duration_seconds{phase}
postroom_smtp_replies_total{code_class,enhanced_class} postroom_queue_messages{state}
postroom_queue_oldest_age_seconds postroom_delivery_latency_seconds postroom_message_size_bytes
postroom_smtp_throttled_total postroom_token_refresh_total{result} postroom_idempotent_replays_total
postroom_build_info{version} postroom_config_reload_success postroom_credential_expiry_seconds{mailbox,kind}
postroom_mailbox_parked{mailbox,reason} postroom_mailbox_sessions{mailbox,state}
postroom_mailbox_window_used{mailbox,window} postroom_smtp_connect_failures_total{mailbox,reason}
postroom_store_free_bytes
"""


def test_every_name_of_the_contract_is_there_with_its_labels() -> None:
    """Read from the registry's own description of its figures."""
    metrics = Metrics(CollectorRegistry(), "1.0")
    known = {}
    for collector in metrics.registry._collector_to_names:
        if hasattr(collector, "_labelnames"):
            suffix = "_total" if collector._type == "counter" else ""
            known[collector._name + suffix] = collector._labelnames
    for entry in NAMES.split():
        name, _, labels = entry.rstrip("}").partition("{")
        assert known[name] == tuple(labels.split(",") if labels else ()), name


def test_a_child_is_made_once_and_can_be_forgotten() -> None:
    """A mailbox that is no longer parked leaves no series behind."""
    metrics = Metrics(CollectorRegistry(), "1.0")
    assert metrics.recipients("sent") is metrics.recipients("sent")
    metrics.mailbox_parked("noreply", "wrong-password").set(1)
    assert b'mailbox="noreply"' in generate_latest(metrics.registry)
    metrics.mailbox_parked.forget("noreply", "wrong-password")
    assert b'mailbox="noreply"' not in generate_latest(metrics.registry)
