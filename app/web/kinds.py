"""The table of problem kinds: one row for each, in the order of their status.

``type`` is the same absolute URI in every deployment, ``code`` its last word for programs. Both never change once
published; title and cure are prose and may.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BASE: Final = "https://postroom.example/problems/"
QUOTA_TYPE: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: what it is called, what it means and what the caller should do.

    ``retry_after`` (seconds) is told where the problem passes by itself and no better figure is known; ``also`` is a
    second status under which the kind appears.
    """

    code: str
    status: int
    title: str
    cure: str
    retry_after: int | None = None
    uri: str | None = None
    also: int | None = None

    @property
    def type(self) -> str:
        """The URI that names the kind."""
        return self.uri or BASE + self.code


TABLE: Final = (
    Kind(
        "malformed-request",
        400,
        "The request is not sound HTTP",
        "Send one Host header, and no Transfer-Encoding but chunked; a proxy between may be at fault.",
    ),
    Kind(
        "malformed-json",
        400,
        "The body is not JSON",
        "Send one JSON object in UTF-8: no name twice, no NaN, no lone surrogate, no deep nesting.",
    ),
    Kind(
        "malformed-multipart",
        400,
        "The multipart body is broken",
        "Send a part named message (JSON) first, then the files, and the closing boundary.",
    ),
    Kind(
        "invalid-idempotency-key",
        400,
        "The Idempotency-Key cannot be used",
        "Send 1 to 256 printable ASCII characters, once.",
    ),
    Kind(
        "unauthorized",
        401,
        "No valid API key",
        "Send the key as Authorization: Bearer or as the password of Basic; an expired one the operator replaces.",
    ),
    Kind("insufficient-scope", 403, "The key may not do this", "Use a key with the scope that the answer names."),
    Kind(
        "network-not-allowed",
        403,
        "The key may not be used from this address",
        "Call from an allowed network, or have the operator add yours.",
    ),
    Kind(
        "sender-not-allowed",
        403,
        "The From address may not be used",
        "missing names the rule: tenant-allowlist (the tenant's senders) or mailbox (no mailbox covers the address).",
    ),
    Kind(
        "recipient-not-allowed",
        403,
        "A recipient is not on the tenant's allowlist",
        "Send to allowed recipients only, or have the operator extend the list.",
    ),
    Kind(
        "priority-not-allowed",
        403,
        "The tenant is not granted this priority",
        "Use a granted priority, or have the operator grant it.",
    ),
    Kind(
        "not-found", 404, "There is nothing here", "Check path and id. A message of another tenant is not found either."
    ),
    Kind("method-not-allowed", 405, "The path does not take this method", "Allow names the methods it takes."),
    Kind("request-timeout", 408, "The body did not arrive in time", "Send it again over a faster link, or less of it."),
    Kind(
        "idempotency-in-progress",
        409,
        "A request with this Idempotency-Key is still running",
        "Repeat the request after Retry-After.",
        retry_after=1,
    ),
    Kind(
        "message-not-cancelable",
        409,
        "Nothing of the message can be canceled",
        "It has been handed over or is done; GET tells which.",
    ),
    Kind(
        "message-not-schedulable",
        409,
        "The message can no longer be rescheduled",
        "Its sending has begun or it is done.",
    ),
    Kind(
        "nothing-to-retry",
        409,
        "No recipient can be tried again",
        "Only rejected, expired and canceled recipients can.",
    ),
    Kind("nothing-to-resolve", 409, "No recipient is unknown", "GET tells each recipient's result."),
    Kind(
        "content-erased",
        409,
        "The content is no longer kept",
        "Send a new message; content goes after content_retention.",
        also=410,
    ),
    Kind("payload-too-large", 413, "The body is too large", "Send less; limit tells how much is taken."),
    Kind(
        "message-too-large",
        413,
        "The message is too large for every mailbox that may send it",
        "Send fewer or smaller attachments; size and limit are octets on the wire.",
    ),
    Kind(
        "unsupported-media-type",
        415,
        "The body's type is not taken",
        "Send application/json, or multipart/form-data where files are taken.",
    ),
    Kind("validation-error", 422, "The request did not validate", "errors names each field and what is wrong with it."),
    Kind(
        "idempotency-key-reused",
        422,
        "The Idempotency-Key was used with another request",
        "Use a new key for a new request.",
    ),
    Kind("too-many-recipients", 422, "Too many recipients", "Split the message; limit tells how many a mailbox takes."),
    Kind(
        "smtputf8-required",
        422,
        "An address needs SMTPUTF8, which the next hop does not offer",
        "Use an address whose part before the @ is ASCII.",
    ),
    Kind("quota-exceeded", 429, "The tenant's limit is used up", "Repeat after Retry-After.", uri=QUOTA_TYPE),
    Kind(
        "daily-quota-exceeded",
        429,
        "The tenant's limit of 24 hours is used up",
        "Repeat after Retry-After, or have the operator raise the limit.",
        uri=QUOTA_TYPE,
    ),
    Kind(
        "too-many-failures",
        429,
        "Too many wrong keys from this address",
        "Stop, repair the key, repeat after Retry-After. Valid keys are not affected.",
        retry_after=60,
    ),
    Kind(
        "internal-error",
        500,
        "Something failed here",
        "Repeat with the same Idempotency-Key; if it stays, give the operator the request_id.",
    ),
    Kind("queue-full", 503, "The queue is full", "Repeat after Retry-After.", retry_after=30),
    Kind(
        "disk-full", 503, "The disk is full", "Repeat after Retry-After; the operator must make room.", retry_after=60
    ),
    Kind("busy", 503, "Too many large bodies at once", "Repeat after Retry-After.", retry_after=2),
    Kind("draining", 503, "The service is stopping", "Repeat after Retry-After on a new connection.", retry_after=5),
    Kind("storage-unavailable", 503, "The store cannot be written or read", "Repeat after Retry-After.", retry_after=5),
    Kind(
        "commit-uncertain",
        503,
        "It is not known whether the message was stored",
        "Repeat with the same Idempotency-Key; without one the message may be doubled.",
        retry_after=5,
    ),
)

KINDS: Final[Mapping[str, Kind]] = {kind.code: kind for kind in TABLE}
