"""Every figure the service tells, by the names of the HTTP contract: one object, made once, handed to who counts.

Labels are bounded words: tenants and mailboxes from the configuration, states, outcomes; never an address, a domain, a
message id or a subject. A child of a labelled figure is made at its first use and kept, since looking it up through
``labels()`` costs four times as much as counting.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

# The buckets of OpenTelemetry's http.server.request.duration (semantic conventions 1.44).
HTTP_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
SMTP_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LATENCY_BUCKETS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400)
SIZE_BUCKETS: Final = (1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 36700160)

_Figure = TypeVar("_Figure", Counter, Gauge, Histogram)


class Kept(Generic[_Figure]):
    """A labelled figure; ``figure("a", "b")`` returns the child for these label values, in the order declared."""

    def __init__(self, parent: _Figure) -> None:
        self._parent: _Figure = parent
        self._children: dict[tuple[str, ...], _Figure] = {}

    def __call__(self, *labels: str) -> _Figure:
        """Return the child for these label values."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._parent.labels(*labels)
        return child

    def forget(self, *labels: str) -> None:
        """Stop telling the child for these label values (a mailbox that is no longer parked, say)."""
        if self._children.pop(labels, None) is not None:
            self._parent.remove(*labels)

    def forget_all(self, first: str) -> None:
        """Stop telling every child whose first label has this value."""
        for labels in [each for each in self._children if each[0] == first]:
            self.forget(*labels)


class Metrics:
    """All figures of the service; the label names stand beside each."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"postroom_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"postroom_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"postroom_{name}", text, labels, buckets=buckets, registry=registry)

        # The doors: method, route, status; tenant, source; tenant, reason.
        self.http_request_duration = Kept(
            histogram(
                "http_request_duration_seconds",
                "Time from the request's headers to the end of its answer.",
                HTTP_BUCKETS,
                *("method", "route", "status"),
            )
        )
        self.messages_accepted = Kept(counter("messages_accepted_total", "Messages taken in.", "tenant", "source"))
        self.requests_refused = Kept(
            counter("requests_refused_total", "Requests answered with a problem.", "tenant", "reason")
        )
        self.idempotent_replays = counter(
            "idempotent_replays_total", "Requests answered from an earlier acceptance by their Idempotency-Key."
        )
        self.message_size = histogram("message_size_bytes", "Octets on the wire of accepted messages.", SIZE_BUCKETS)

        # Delivery: result; outcome, scope; phase; code_class, enhanced_class.
        self.recipients = Kept(counter("recipients_total", "Recipients that took a result.", "result"))
        self.attempts = Kept(counter("attempts_total", "Transactions by how they ended.", "outcome", "scope"))
        self.smtp_duration = Kept(
            histogram("smtp_duration_seconds", "Time the server took, by phase.", SMTP_BUCKETS, "phase")
        )
        self.smtp_replies = Kept(
            counter("smtp_replies_total", "Replies of the server by class.", "code_class", "enhanced_class")
        )
        self.smtp_throttled = counter("smtp_throttled_total", "Replies by which the server asked for a slower pace.")
        self.smtp_connect_failures = Kept(
            counter("smtp_connect_failures_total", "Sessions that could not be opened.", "mailbox", "reason")
        )
        self.delivery_latency = histogram(
            "delivery_latency_seconds", "Time from acceptance to the server's 250.", LATENCY_BUCKETS
        )

        # Sign-in: result; mailbox, kind.
        self.token_refresh = Kept(counter("token_refresh_total", "Access tokens asked for.", "result"))
        self.credential_expiry = Kept(
            gauge("credential_expiry_seconds", "Seconds until a credential expires.", "mailbox", "kind")
        )

        # Mailboxes: mailbox, reason; mailbox, state; mailbox, window.
        self.mailbox_parked = Kept(gauge("mailbox_parked", "1 while the mailbox stands still.", "mailbox", "reason"))
        self.mailbox_sessions = Kept(gauge("mailbox_sessions", "Sessions open now.", "mailbox", "state"))
        self.mailbox_window_used = Kept(
            gauge("mailbox_window_used", "Used of the rolling windows (minute, day).", "mailbox", "window")
        )

        # The storeroom: state.
        self.queue_messages = Kept(gauge("queue_messages", "Messages by state of work.", "state"))
        self.queue_oldest_age = gauge("queue_oldest_age_seconds", "Age of the oldest message that waits and is due.")
        self.store_free_bytes = gauge("store_free_bytes", "Octets free on the store's disk.")
        self.store_file_bytes = gauge("store_file_bytes", "Octets of the store's file.")
        self.store_reusable_bytes = gauge("store_reusable_bytes", "Octets within the store's file free for reuse.")

        # The process.
        self.config_reload_success = gauge("config_reload_success", "1 if the configuration file in use is the latest.")
        self.config_reload_success.set(1)
        gauge("build_info", "The version that runs.", "version").labels(version).set(1)

    def forget_mailbox(self, name: str) -> None:
        """Stop telling how a mailbox stands that is configured no longer; what was counted of it stays."""
        for figure in (self.mailbox_parked, self.mailbox_sessions, self.mailbox_window_used, self.credential_expiry):
            figure.forget_all(name)
