"""Every reply of Exchange Online that can be ordered by name, with the phase in which it comes.

A message to ``NAME@emulator.postroom`` meets that reply; rows of phase ``auth`` are met by signing in as
``NAME@emulator.postroom``. A fault may name a row in place of phase and reply. Wordings are Microsoft's as documented
or reported; where only a code is known, the text is a plausible one and the row says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from app.emulator.accounts import canonical
from app.emulator.faults import Action, Fault, Occasion, Phase
from app.emulator.replies import BACK, RECIPIENT_OK, TOO_LARGE, TRAIL

DOMAIN = "emulator.postroom"

_STOREDRV = "STOREDRV.Submission.Exception:"
_HOSTNAME = f"[Hostname={BACK}]"
_UNSUCCESSFUL = "535 5.7.139 Authentication unsuccessful,"


@dataclass(frozen=True, slots=True)
class Row:
    """One named trouble: a reply at a phase, or an action, or both; ``about`` is a line for people."""

    phase: Phase
    about: str
    reply: str | None = None
    action: Action | None = None
    seconds: float | None = None

    def fault(self) -> Fault:
        """Return the row as a fault."""
        return Fault(phase=self.phase, reply=self.reply, action=self.action, seconds=self.seconds)


def _diagnostics() -> str:
    """Return a block like the one that makes Exchange's refusals more than 2 kB long."""
    stack = [f"1.{number * 7919 % 0xFFFF:05X}:{number * 104729 % 0xFFFFFFFF:08X}" for number in range(1, 96)]
    return (
        "[BeginDiagnosticData]Cannot submit message. 0.35250:4C250000, 1.36674:0A000000, "
        + ", ".join(stack)
        + ", 255.1750:0A00F50F[EndDiagnosticData]"
    )


def send_as_denied(login: str, sender: str) -> str:
    """Return the refusal of a From that the login has not been granted: one line of more than 2 kB."""
    return (
        f"554 5.2.252 SendAsDenied; {login} not allowed to send as {sender}; {_STOREDRV}"
        "SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception with "
        f"message {_diagnostics()} {_HOSTNAME}"
    )


def _mail(reply: str, about: str) -> Row:
    return Row(Phase.MAIL, about, reply)


def _rcpt(reply: str, about: str) -> Row:
    return Row(Phase.RCPT, about, reply)


def _dot(reply: str, about: str) -> Row:
    return Row(Phase.DOT, about, reply)


def _auth(reply: str, about: str) -> Row:
    return Row(Phase.AUTH, about, f"{reply} {TRAIL}" if reply.startswith("535") else reply)


_AT_SIGN_IN = {
    "auth-unsuccessful": _auth("535 5.7.3 Authentication unsuccessful", "a token that is accepted nowhere"),
    "smtp-auth-disabled-tenant": _auth(
        f"{_UNSUCCESSFUL} SmtpClientAuthentication is disabled for the Tenant. "
        "Visit https://aka.ms/smtp_auth_disabled for more information.",
        "SMTP AUTH is off in the organisation",
    ),
    "smtp-auth-disabled-mailbox": _auth(
        f"{_UNSUCCESSFUL} SmtpClientAuthentication is disabled for the Mailbox. "
        "Visit https://aka.ms/smtp_auth_disabled for more information.",
        "SMTP AUTH is off for the mailbox",
    ),
    "security-defaults": _auth(
        f"{_UNSUCCESSFUL} user is locked by your organization's security defaults policy. Contact your administrator.",
        "Security Defaults block passwords",
    ),
    "conditional-access": _auth(
        f"{_UNSUCCESSFUL} the request did not meet the criteria to be authenticated successfully. "
        "Contact your administrator.",
        "a Conditional Access policy said no",
    ),
    "wrong-credentials": _auth(f"{_UNSUCCESSFUL} the user credentials were incorrect.", "wrong or expired password"),
    "account-locked": _auth(f"{_UNSUCCESSFUL} account locked. Contact your administrator.", "Entra's lock-out"),
    "basic-auth-disabled": _auth(f"{_UNSUCCESSFUL} basic authentication is disabled.", "a policy blocks passwords"),
    "sts-unreachable": _auth(f"{_UNSUCCESSFUL} federated STS service was unreachable.", "AD FS is away"),
    "sts-not-https": _auth(f"{_UNSUCCESSFUL} the federated STS URL does not support HTTPS.", "AD FS without TLS"),
    "basic-auth-retired": _auth(
        "550 5.7.30 Basic authentication is not supported for Client Submission.", "passwords are retired"
    ),
    "unrecognized-mechanism": _auth("504 5.7.4 Unrecognized authentication type", "as if PLAIN had been tried"),
    "invalid-xoauth2": _auth("501 5.5.124 Invalid XOAUTH2 auth data", "malformed SASL data"),
    "temporary-auth-failure": _auth("454 4.7.0 Temporary authentication failure", "trouble on the server's side"),
    "proxy-error": _auth(
        "451 4.7.0 Temporary server error. Please try again later. PRX2", "the front end cannot reach the back end"
    ),
    "tls-too-old": _auth("421 4.7.66 TLS 1.0 and 1.1 are not supported.", "as if TLS were older than 1.2"),
}

_IN_ENVELOPE = {
    "service-not-active": _mail("421 4.3.2 Service not active", "the server goes away"),
    "service-not-available": _mail("421 4.3.2 Service not available", "the same, other words"),
    "connection-timed-out": _rcpt(
        "421 4.4.1 Connection timed out. Total session duration: 00:10:00", "session too old"
    ),
    "socket-error": Row(Phase.DATA, "a broken back end", "421 4.4.2 Connection dropped due to SocketError"),
    "input-timeout": Row(
        Phase.RCPT, "said, then closed", "451 4.7.0 Timeout waiting for client input", action=Action.CLOSE
    ),
    "must-starttls": _mail("530 5.7.0 Must issue a STARTTLS command first", "as if in the clear"),
    "tls-channel-failed": _mail(
        "454 4.7.0 Failed to establish appropriate TLS channel: Access Denied", "seen on the connector path"
    ),
    "not-authenticated": _mail(
        "530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful, "
        f"the user credentials were incorrect. {TRAIL}",
        "a failed sign-in told at MAIL",
    ),
    "not-authenticated-plain": _mail(
        "530 5.7.57 Client was not authenticated to send anonymous mail during MAIL FROM", "as documented"
    ),
    "not-authenticated-old": _mail("530 5.7.1 Client was not authenticated", "older text"),
    "send-as-not-permitted": _mail(
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "older text of a Send-As refusal"
    ),
    "message-too-large": _mail(TOO_LARGE, "SIZE= is over the limit"),
    "invalid-sender": _mail("501 5.1.7 Invalid address", "syntax of the return path"),
    "invalid-arguments": _mail("501 5.5.4 Invalid arguments", "an argument is wrong"),
    "unrecognized-parameter": _mail("501 5.5.4 Unrecognized parameter", "a parameter is unknown"),
    "send-hello-first": _mail("503 5.5.2 Send hello first", "order of commands"),
    "need-mail-command": _rcpt("503 5.5.2 Need mail command", "order of commands"),
    "invalid-address": _rcpt("501 5.1.3 Invalid address", "syntax of this recipient"),
    "too-many-recipients": _rcpt("452 4.5.3 Too many recipients", "this recipient is one too many"),
    "unknown-recipient": _rcpt(
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "an invalid recipient, told at RCPT (wording of the bounce; phase not documented)",
    ),
    "recipient-rejected": _rcpt("550 5.4.1 Recipient address rejected: Access denied", "as on the MX path"),
    "relay-denied": _rcpt("550 5.7.64 TenantAttribution; Relay Access Denied", "as on the MX path"),
    "direct-send-denied": _rcpt(
        "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources",
        "as on the MX path",
    ),
}

_AT_DOT = {
    "queued": _dot(
        f"250 2.6.0 <1@{DOMAIN}> [InternalId=1, Hostname={BACK}] 7231 bytes in 0.104, 67.722 KB/sec "
        "Queued mail for delivery",
        "taken, in the words of the MX path",
    ),
    "concurrent-connections": _dot(
        "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more "
        f"information. {_HOSTNAME}",
        "more than three at once",
    ),
    "sender-thread-limit": _dot(
        f"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded {_HOSTNAME}", "the same, older words"
    ),
    "storedrv-transient": _dot(
        f"430 4.2.0 STOREDRV; mailbox logon failure; mailbox database temporarily unavailable {_HOSTNAME}",
        "another passing trouble of the store (wording not documented)",
    ),
    "quota-exceeded": _dot(f"554 5.2.0 {_STOREDRV}SubmissionQuotaExceededException", "10,000 recipients in 24 hours"),
    "quota-exceeded-long": _dot(
        f"554 5.2.0 {_STOREDRV}SubmissionQuotaExceededException; The message can't be submitted because the sender's "
        "submission quota was exceeded",
        "the same, longer words",
    ),
    "daily-limit": _dot(
        "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients "
        "(AS:46601)",
        "the same, words of the bounce",
    ),
    "send-as-denied": _dot(
        send_as_denied(f"login@{DOMAIN}", f"somebody.else@{DOMAIN}"), "From not granted; a line of more than 2 kB"
    ),
    "send-as-denied-old": _dot(
        f"554 5.2.0 {_STOREDRV}SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a "
        f"permanent exception with message Cannot submit message. {_HOSTNAME}",
        "the same, older code",
    ),
    "mailbox-full": _dot(
        f"554 5.2.2 mailbox full; {_STOREDRV}QuotaExceededException.MapiExceptionShutoffQuotaExceeded; Failed to "
        "process message due to a permanent exception",
        "the sending mailbox is full",
    ),
    "mailbox-over-quota": _dot(
        f"554 5.2.2 mailbox full; {_STOREDRV}QuotaExceededException.MapiExceptionQuotaExceeded; Failed to process "
        "message due to a permanent exception",
        "the same, the lower threshold",
    ),
    "throttled-mailbox-full": _dot(
        "550 5.2.251 Sender throttled due to continuous mailbox full errors.", "continuous-error throttling"
    ),
    "throttled-send-as": _dot(
        "550 5.2.252 Sender throttled due to continuous send as denied errors.", "continuous-error throttling"
    ),
    "throttled": _dot(
        "550 5.2.252 Sender throttled due to continuous send as denied errors.", "short for throttled-send-as"
    ),
    "throttled-license": _dot(
        "550 5.2.253 Sender throttled due to continuous invalid license errors.", "continuous-error throttling"
    ),
    "throttled-too-many-recipients": _dot(
        "550 5.2.254 Sender throttled due to continuous too many recipients errors.", "continuous-error throttling"
    ),
    "throttled-invalid-recipients": _dot(
        "550 5.2.255 Sender throttled due to continuous invalid recipients errors.", "continuous-error throttling"
    ),
    "invalid-license": _dot(
        f"554 5.2.0 {_STOREDRV}InvalidLicenseException; The mailbox has no valid license {_HOSTNAME}",
        "the mailbox lacks a licence (wording not documented)",
    ),
    "invalid-recipient": _dot(
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "an invalid recipient, told at the dot (wording of the bounce)",
    ),
    "recipient-limit": _dot("550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients", "over 500 in one message"),
    "bad-outbound-sender": _dot("550 5.1.8 Access denied, bad outbound sender", "the mailbox is restricted"),
    "spam-abuse": _dot("550 5.7.501 Access denied, spam abuse detected", "the tenant is suspected"),
    "banned-sender-502": _dot("550 5.7.502 Access denied, banned sender", "banned"),
    "banned-sender": _dot("550 5.7.503 Access denied, banned sender", "banned"),
    "tenant-threshold": _dot("550 5.7.705 Access denied, tenant has exceeded threshold", "the whole tenant is stopped"),
    "low-reputation-address": _dot("550 5.7.708 Access denied, traffic not accepted from this IP", "by address"),
    "unregistered-domains": _dot(
        "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains", "domains missing"
    ),
    "trial-external-limit": _dot(
        "550 5.7.232 Your message can't be sent because your trial tenant exceeded its daily limit for sending email "
        "to external recipients (tenant external recipient rate limit)",
        "trial tenant, external recipients",
    ),
    "tenant-external-limit": _dot(
        "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to "
        "external recipients (tenant external recipient rate limit)",
        "tenant, external recipients",
    ),
    "blocked-by-organization": _dot(
        "550 5.7.703 Your message can't be delivered because one or more recipients are blocked by your organization "
        "using Tenant Allow Block List",
        "for all recipients of the message",
    ),
    "dmarc-reject": _dot(
        "550 5.7.509 Access denied, sending domain does not pass DMARC verification and has a DMARC policy of reject",
        "the From domain is not aligned",
    ),
    "not-rfc5322": _dot(
        "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant", "no valid From address"
    ),
    "multiple-from": _dot(
        "550 5.1.20 Multiple From addresses are not allowed without Sender address", "several From addresses"
    ),
    "header-too-large": _dot("552 5.3.4 Header size exceeds fixed maximum size", "header block over 256 KB"),
    "content-too-large": _dot(TOO_LARGE, "over the mailbox's limit (wording not documented)"),
    "try-again-later": _dot("451 4.7.500 Access denied, please try again later", "grey-listing"),
    "server-busy": _dot("451 4.7.500 Server busy. Please try again later", "the same, other words"),
    "storedrv-unknown": _dot(
        f"554 5.2.0 {_STOREDRV}SomethingNewException; Failed to process message due to a permanent exception",
        "a name that nobody has seen yet",
    ),
}

_ACTIONS = {
    "drop-at-data": Row(Phase.DATA, "TCP reset instead of the 354", action=Action.DROP),
    "drop-in-content": Row(Phase.CONTENT, "TCP reset as soon as content arrives", action=Action.DROP),
    "drop": Row(Phase.DOT, "TCP reset at the dot, message not taken", action=Action.DROP),
    "drop-after-dot": Row(Phase.DOT, "message taken, TCP reset instead of the reply", action=Action.DROP_AFTER_DOT),
    "close": Row(Phase.DOT, "FIN at the dot, message not taken", action=Action.CLOSE),
    "truncate-tls": Row(Phase.DOT, "FIN without close_notify at the dot, not taken", action=Action.TRUNCATE_TLS),
    "stall": Row(Phase.DOT, "no reply to the dot, not taken unless the client stays", action=Action.STALL),
    "slow": Row(Phase.DOT, "taken at once, the reply comes 3 s later", action=Action.LATE_REPLY, seconds=3.0),
    "half-reply": Row(Phase.DOT, "taken, half a reply, then FIN", action=Action.HALF_REPLY),
    "overlong-reply": Row(Phase.DOT, "taken, a reply line of more than 8 KiB", action=Action.OVERLONG_REPLY),
    "bare-lf": Row(Phase.DOT, "taken, the reply ends in LF", action=Action.BARE_LF),
    "out-of-turn": Row(Phase.DOT, "taken, two replies in place of one", action=Action.OUT_OF_TURN),
    "accepted": Row(Phase.RCPT, "nothing goes wrong", RECIPIENT_OK),
}

CATALOGUE = MappingProxyType({**_AT_SIGN_IN, **_IN_ENVELOPE, **_AT_DOT, **_ACTIONS})
"""Every row by its name."""


def wording(name: str) -> str:
    """Return the reply of a row that has one."""
    reply = CATALOGUE[name].reply
    if reply is None:
        raise ValueError(f"{name} has no reply")
    return reply


def magic(occasion: Occasion) -> Fault | None:
    """Return the fault that a magic recipient, or in phase auth a magic login, asks for at this occasion."""
    asked = (occasion.login,) if occasion.phase is Phase.AUTH else occasion.recipients
    for address in asked:
        name, _, domain = canonical(address or "").rpartition("@")
        row = CATALOGUE.get(name) if domain == DOMAIN else None
        if row is not None and row.phase is occasion.phase:
            return row.fault()
    return None
