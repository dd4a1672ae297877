"""Replies about the session itself: connecting, TLS, a server that goes away. No message's fault, no credential's."""

from __future__ import annotations

from typing import Final

from app.mail.rule import Effect, Outcome, Row, Scope, SignInKind, row

_KEPT: Final = Outcome.KEPT
_SESSION: Final = Scope.SESSION
_RECONNECT: Final = Effect.RECONNECT

# Not left to the formatter: the pattern of a row stands on one line, what it means below.
ROWS: Final[tuple[Row, ...]] = (
    row(
        "", 421, "4.7.66", None, _KEPT, _SESSION, _RECONNECT,
        cause="Exchange refuses TLS 1.0 and 1.1; the connection came with an old TLS.",
        cure="Postroom speaks TLS 1.2 or newer; look for a proxy or firewall between it and Exchange that opens TLS. "
        "Try: openssl s_client -starttls smtp -connect smtp.office365.com:587 -tls1_2.",
    ),
    row(
        "", 421, "4.3.2", r"Service not (active|available)", _KEPT, _SESSION, _RECONNECT,
        cause="This server of Exchange does not work at present.",
        cure="Nothing; another connection reaches another server.",
    ),
    row(
        "", 421, "4.4.1", r"Connection timed out", _KEPT, _SESSION, _RECONNECT,
        cause="Exchange ended the session because of its age or of a silence.",
        cure="Nothing; a new session is opened. If it is frequent, lower session_age and session_idle in [delivery].",
    ),
    row(
        "", 421, "4.4.2", r"Connection dropped", _KEPT, _SESSION, _RECONNECT,
        cause="Exchange dropped the connection.",
        cure="Nothing; a new session is opened. If it is frequent, look for a firewall that cuts connections.",
    ),
    row(
        "", 421, "", None, _KEPT, _SESSION, _RECONNECT,
        cause="The server ends the session (RFC 5321 §3.8).",
        cure="Nothing; a new session is opened.",
    ),
    row(
        "", 451, "4.7.0", r"Timeout waiting for client input", _KEPT, _SESSION, _RECONNECT,
        cause="Exchange ended a session that was silent for about five minutes.",
        cure="Nothing; a new session is opened. If it is frequent, lower session_idle in [delivery].",
    ),
    row(
        "", 454, "", r"Failed to establish appropriate TLS channel", _KEPT, _SESSION, _RECONNECT,
        cause="The server found the TLS of the connection wanting; known from connectors and hybrid set-ups.",
        cure="Check that host is smtp.office365.com, not the tenant's MX host, and that nothing in between opens TLS.",
    ),
    row(
        "auth mail rcpt data dot", 530, "5.7.0", r"Must issue a STARTTLS command", _KEPT, Scope.MAILBOX, Effect.PARK,
        sign_in=SignInKind.CLIENT,
        cause="The server took the connection for an unencrypted one, although TLS had been agreed.",
        cure="Look for a proxy between Postroom and Exchange that ends TLS; then run: postroom mailbox resume NAME.",
    ),
)  # fmt: skip

# Behind everything else: what no row knows follows its class (RFC 5321 §4.2.1) and its phase.
DEFAULTS: Final[tuple[Row, ...]] = (
    row(
        "connect starttls", 4, "", None, _KEPT, _SESSION, _RECONNECT,
        cause="The server takes no connection at present.",
        cure="Nothing; it is tried again after 1, 2, 4 … 60 seconds.",
    ),
    row(
        "connect starttls", 5, "", None, _KEPT, _SESSION, _RECONNECT,
        cause="The server does not want this connection.",
        cure="Check host and port of the connection, and whether this machine's address may reach it.",
    ),
    row(
        "auth", 4, "", None, _KEPT, _SESSION, _RECONNECT,
        sign_in=SignInKind.SERVICE,
        cause="The server cannot check a sign-in at present; the credential was not refused.",
        cure="Nothing; it is tried again after 1, 2, 4 … 60 seconds.",
    ),
    row(
        "auth", 5, "", None, _KEPT, Scope.MAILBOX, Effect.PARK,
        sign_in=SignInKind.OTHER,
        cause="The server refused the sign-in for a reason this catalogue does not know.",
        cure="Look up the sign-in in Entra (Monitoring > Sign-in logs), mend it, then run: "
        "postroom mailbox resume NAME.",
    ),
    row(
        "rcpt", 4, "", None, Outcome.DEFERRED, Scope.RECIPIENT,
        cause="The server does not take this recipient for now.",
    ),
    row("rcpt", 5, "", None, Outcome.REJECTED, Scope.RECIPIENT, cause="The server refused this recipient."),
    row("", 4, "", None, Outcome.DEFERRED, Scope.MESSAGE, cause="The server does not take the message for now."),
    row("", 5, "", None, Outcome.REJECTED, Scope.MESSAGE, cause="The server refused the message."),
    row("", None, "", None, _KEPT, _SESSION, _RECONNECT, cause="The server's answer is no reply of SMTP."),
)  # fmt: skip
