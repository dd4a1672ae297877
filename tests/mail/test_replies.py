"""The catalogue, row by row: the words as Exchange says them, and neighbours that must be judged otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.mail.redact import without_diagnostics
from app.mail.replies import CATALOGUE
from app.mail.replies.markdown import render_markdown
from app.mail.reply import Phase, Reply, reply_of
from app.mail.rule import Effect, Outcome, SignInKind
from app.mail.verdict import Verdict, judge

_STOREDRV = "STOREDRV.Submission.Exception:"
_UNSUCCESSFUL = "535 5.7.139 Authentication unsuccessful,"
_HOSTNAME = "[Hostname=SYBP282MB2635.AUSP282.PROD.OUTLOOK.COM]"
_BLOB = f"[BeginDiagnosticData]Cannot submit message. {'16.55847:950D0000, ' * 150}[EndDiagnosticData]"


def said(line: str, phase: str) -> Reply:
    """Read a reply as it stands on the wire; a line break separates the lines of a reply of several."""
    lines = line.split("\n")
    return reply_of(int(lines[0][:3]), [lines[0][4:], *(more[4:] for more in lines[1:])], Phase(phase))


def judged(line: str, phase: str) -> Verdict:
    return judge(said(line, phase))


def gist(verdict: Verdict) -> tuple[str, str, str, str | None]:
    return (verdict.outcome.value, verdict.scope.value, verdict.effect.value, verdict.family)


RECONNECTS = ("kept", "session", "reconnect", None)
PARKS = ("kept", "mailbox", "park", None)
PARKS_ALL = ("kept", "connection", "park", None)
DAY_FULL = ("deferred", "mailbox", "day-full", None)
EXTERNAL = ("deferred", "connection", "external-day-full", None)
NARROWS = ("deferred", "mailbox", "narrow", None)
LATER = ("deferred", "message", "none", None)
REFUSED = ("rejected", "message", "none", None)
SEND_AS = ("rejected", "sender", "strike", "send-as")
INVALID = ("rejected", "recipient", "strike", "invalid-recipient")
TOO_MANY = ("rejected", "sender", "strike", "too-many-recipients")


def parks(family: str) -> tuple[str, str, str, str]:
    return ("kept", "mailbox", "park", family)


VERBATIM: list[tuple[str, str, tuple[str, str, str, str | None]]] = [
    # the session
    ("421 4.3.2 Service not active", "mail", RECONNECTS),
    ("421 4.3.2 Service not available", "connect", RECONNECTS),
    ("421 4.4.1 Connection timed out. Total session duration: 00:20:55.4331218", "rcpt", RECONNECTS),
    ("421 4.4.2 Connection dropped due to SocketError", "dot", RECONNECTS),
    ("451 4.7.0 Timeout waiting for client input", "mail", RECONNECTS),
    ("421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client", "auth", RECONNECTS),
    ("530 5.7.0 Must issue a STARTTLS command first", "mail", PARKS),
    ("530 5.7.0 Must issue a STARTTLS command first", "auth", PARKS),
    ("454 4.7.0 Failed to establish appropriate TLS channel: Access Denied", "mail", RECONNECTS),
    # the sign-in
    ("535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]", "auth", PARKS),
    (
        f"{_UNSUCCESSFUL} SmtpClientAuthentication is disabled for the Tenant. "
        "Visit https://aka.ms/smtp_auth_disabled for more information. [AM0PR01CA0123.eurprd01.prod.exchangelabs.com]",
        "auth",
        PARKS,
    ),
    (f"{_UNSUCCESSFUL} SmtpClientAuthentication is disabled for the Mailbox.", "auth", PARKS),
    (
        f"{_UNSUCCESSFUL} user is locked by your organization's security defaults policy. Contact your administrator.",
        "auth",
        PARKS,
    ),
    (f"{_UNSUCCESSFUL} the request did not meet the criteria to be authenticated successfully.", "auth", PARKS),
    (f"{_UNSUCCESSFUL} the user credentials were incorrect. [host]", "auth", PARKS),
    (f"{_UNSUCCESSFUL} account locked. Contact your administrator.", "auth", PARKS),
    (f"{_UNSUCCESSFUL} basic authentication is disabled. [host]", "auth", PARKS),
    (f"{_UNSUCCESSFUL} federated STS service was unreachable.", "auth", PARKS),
    (f"{_UNSUCCESSFUL} the federated STS URL does not support HTTPS.", "auth", PARKS),
    ("550 5.7.30 Basic authentication is not supported for Client Submission.", "auth", PARKS),
    ("535 5.7.30 Basic authentication is not supported for Client Submission.", "auth", PARKS),
    ("504 5.7.4 Unrecognized authentication type", "auth", PARKS),
    ("501 5.5.124 Invalid XOAUTH2 auth data", "auth", PARKS),
    ("454 4.7.0 Temporary authentication failure", "auth", RECONNECTS),
    ("451 4.7.0 Temporary server error. Please try again later. PRX2", "auth", RECONNECTS),
    # the envelope
    (
        "530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful, "
        "account locked. [LO4P123CA0001.GBRP123.PROD.OUTLOOK.COM 2026-08-01T10:00:00.000Z 08DE2A6028D26C22]",
        "mail",
        PARKS,
    ),
    ("530 5.7.57 Client was not authenticated to send anonymous mail during MAIL FROM", "mail", RECONNECTS),
    ("530 5.7.1 Client was not authenticated", "mail", RECONNECTS),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", "mail", SEND_AS),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", "dot", SEND_AS),
    ("552 5.3.4 Message size exceeds fixed maximum message size", "mail", REFUSED),
    ("501 5.1.3 Invalid address", "rcpt", INVALID),
    ("501 5.1.7 Invalid address", "mail", REFUSED),
    ("501 5.5.4 Invalid arguments", "mail", REFUSED),
    ("501 5.5.4 Unrecognized parameter", "mail", REFUSED),
    ("503 5.5.2 Send hello first", "mail", RECONNECTS),
    ("503 5.5.2 Need mail command", "rcpt", RECONNECTS),
    ("452 4.5.3 Too many recipients", "rcpt", ("deferred", "recipient", "none", None)),
    ("550 5.4.1 Recipient address rejected: Access denied", "rcpt", INVALID),
    ("550 5.7.64 TenantAttribution; Relay Access Denied", "rcpt", PARKS_ALL),
    (
        "550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources",
        "rcpt",
        PARKS_ALL,
    ),
    ("553 5.6.7 Not asked: the server does not offer SMTPUTF8", "mail", ("rejected", "recipient", "none", None)),
    ("555 5.5.4 Unsupported option: SMTPUTF8", "mail", REFUSED),
    ("550 5.5.105 Recipient not allowed", "rcpt", ("rejected", "recipient", "none", None)),
    # the content
    (
        "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more "
        f"information. {_HOSTNAME}",
        "dot",
        NARROWS,
    ),
    (f"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded {_HOSTNAME}", "dot", NARROWS),
    (f"554 5.2.0 {_STOREDRV}SubmissionQuotaExceededException", "dot", DAY_FULL),
    (
        f"554 5.2.0 {_STOREDRV}SubmissionQuotaExceededException; Failed to process message due to a permanent "
        "exception with message The message can't be submitted because the sender's submission quota was exceeded",
        "dot",
        DAY_FULL,
    ),
    ("554 5.2.2 Submission quota exceeded", "dot", DAY_FULL),
    (
        "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients "
        "(AS:46601)",
        "dot",
        DAY_FULL,
    ),
    (
        "554 5.2.252 SendAsDenied; login@contoso.com not allowed to send as billing@contoso.com; "
        f"{_STOREDRV}SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent "
        f"exception with message {_BLOB} {_HOSTNAME}",
        "dot",
        SEND_AS,
    ),
    (f"554 5.2.0 {_STOREDRV}SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process", "dot", SEND_AS),
    (
        f"554 5.2.2 mailbox full; {_STOREDRV}QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
        "dot",
        parks("mailbox-full"),
    ),
    (
        f"554 5.2.2 mailbox full; {_STOREDRV}QuotaExceededException.MapiExceptionQuotaExceeded",
        "dot",
        parks("mailbox-full"),
    ),
    (
        "554 5.2.2 Mailbox full. Visit https://aka.ms/mailboxfull for more information.; "
        f"{_STOREDRV}QuotaExceededException.MapiExceptionQuotaExceeded",
        "dot",
        parks("mailbox-full"),
    ),
    ("550 5.2.251 Sender throttled due to continuous mailbox full errors.", "dot", parks("mailbox-full")),
    ("550 5.2.252 Sender throttled due to continuous send as denied errors.", "dot", parks("send-as")),
    ("550 5.2.253 Sender throttled due to continuous invalid license errors.", "dot", parks("license")),
    (
        "550 5.2.254 Sender throttled due to continuous too many recipients errors.",
        "dot",
        parks("too-many-recipients"),
    ),
    (
        "550 5.2.255 Sender throttled due to continuous invalid recipients errors.",
        "mail",
        parks("invalid-recipient"),
    ),
    (f"554 5.2.0 {_STOREDRV}InvalidLicenseException; The license is invalid", "dot", parks("license")),
    ("550 5.1.8 Access denied, bad outbound sender", "dot", PARKS),
    ("550 5.1.8 Access denied, bad outbound sender AS(42004)", "dot", PARKS),
    ("550 5.7.501 Access denied, spam abuse detected", "dot", PARKS),
    ("550 5.7.502 Access denied, banned sender", "dot", PARKS),
    ("550 5.7.503 Access denied, banned sender", "dot", PARKS),
    ("550 5.7.705 Access denied, tenant has exceeded threshold", "dot", PARKS_ALL),
    ("550 5.7.708 Access denied, traffic not accepted from this IP", "dot", PARKS_ALL),
    ("550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains", "dot", PARKS_ALL),
    (
        "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to "
        "external recipients (tenant external recipient rate limit)",
        "dot",
        EXTERNAL,
    ),
    ("550 5.7.232 Your message can't be sent because your trial tenant exceeded its daily limit", "dot", EXTERNAL),
    (
        "550 5.7.703 Your message can't be delivered because one or more recipients are blocked by your organization "
        "using Tenant Allow Block List",
        "dot",
        REFUSED,
    ),
    (
        "550 5.7.509 Access denied, sending domain contoso.com does not pass DMARC verification and has a DMARC policy "
        "of reject",
        "dot",
        ("rejected", "sender", "none", None),
    ),
    ("550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant", "dot", REFUSED),
    ("550 5.1.20 Multiple From addresses are not allowed without Sender address", "dot", REFUSED),
    ("550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients", "dot", TOO_MANY),
    ("451 4.7.500 Access denied, please try again later", "mail", LATER),
    ("451 4.7.652 Server busy", "mail", LATER),
    ("552 5.3.4 Header size exceeds fixed maximum size", "dot", REFUSED),
    ("430 4.2.0 STOREDRV; mailbox logon failure", "dot", LATER),
    ("451 4.7.0 Temporary server error. Please try again later. PRX5", "dot", LATER),
    (f"554 5.2.0 {_STOREDRV}SomethingNewException; Failed to process message", "dot", REFUSED),
    (f"554 5.2.0 {_STOREDRV}OutboundSpamException; WASCL UserAction verdict is not None.", "dot", REFUSED),
    (f"554 5.2.0 {_STOREDRV}MessageSubmissionExceededException.MapiExceptionMaxSubmissionExceeded", "dot", REFUSED),
    (f"554 5.2.0 {_STOREDRV}InvalidRecipientsException.MapiExceptionInvalidRecipients", "dot", INVALID),
    # known from reports by mail, should they ever come as a reply
    ("550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found", "dot", INVALID),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "dot", INVALID),
    ("550 5.1.6 Recipient no longer on server", "rcpt", INVALID),
    ("550 5.2.121 Recipient's per hour message receive limit from this sender exceeded", "rcpt",
     ("deferred", "recipient", "none", None)),
    ("550 5.7.124 Sender not in allowed-senders list", "dot", ("rejected", "recipient", "none", None)),
    ("550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal", "dot", REFUSED),
    ("550 5.4.300 Message expired", "dot", REFUSED),
    ("550 5.0.350 Generic error", "dot", REFUSED),
    ("550 5.7.1 Message rejected by a mail flow rule", "dot", ("rejected", "recipient", "none", None)),
]  # fmt: skip


@pytest.mark.parametrize(("line", "phase", "meaning"), VERBATIM, ids=[f"{p} {r[:40]}" for r, p, _ in VERBATIM])
def test_a_known_reply_means_what_its_row_says(
    line: str, phase: str, meaning: tuple[str, str, str, str | None]
) -> None:
    """Judged by a row of its own, with cause and cure."""
    verdict = judged(line, phase)
    assert gist(verdict) == meaning
    assert verdict.cause
    assert verdict.cure or verdict.outcome is Outcome.DEFERRED
    assert verdict.reply == said(line, phase)


NEAR_MISSES: list[tuple[str, str, tuple[str, str, str, str | None]]] = [
    # the code without the words, the words without the code
    ("421 mx.example.com closing", "dot", RECONNECTS),
    ("535 5.7.139 Authentication unsuccessful, for a reason nobody has told yet", "auth", PARKS),
    ("552 message too large", "mail", REFUSED),
    ("552 5.2.2 Mailbox full", "rcpt", ("rejected", "recipient", "none", None)),
    # 5.2.252 has two meanings, and neither is told by the enhanced code
    ("550 5.2.252 SendAs", "dot", REFUSED),
    ("554 5.2.252 Sender throttled due to continuous send as denied errors.", "dot", REFUSED),
    ("550 5.2.251 Sender is welcome", "dot", REFUSED),
    # 5.2.0 is a family, and the diagnostics of one member may name another
    (f"554 5.2.0 {_STOREDRV}OtherException; [BeginDiagnosticData]SendAsDenied; QuotaExceeded", "dot", REFUSED),
    ("554 5.2.0 Mailbox unavailable", "dot", REFUSED),
    (f"451 4.2.0 {_STOREDRV}SubmissionQuotaExceededException", "dot", LATER),
    # the sender's mailbox is full at the dot, a recipient's at RCPT
    ("452 4.2.2 Mailbox full", "rcpt", ("deferred", "recipient", "none", None)),
    ("552 5.2.2 Mailbox full", "dot", REFUSED),
    # a sender's address that is wrong is not a restricted one
    ("550 5.1.8 Sender address rejected: Domain not found", "mail", REFUSED),
    # 535 within 530 counts, and 454 within it is no refusal of the credential
    (
        "530 5.7.57 Client not authenticated to send mail. Error: 454 4.7.0 Temporary authentication failure",
        "mail",
        RECONNECTS,
    ),
    ("530 5.7.57 Client not authenticated to send mail. Error: none", "mail", RECONNECTS),
    # a 4xx or 421 at AUTH never parks, whatever its words
    ("421 4.7.0 account locked", "auth", RECONNECTS),
    ("454 4.7.0 the user credentials were incorrect", "auth", RECONNECTS),
    ("432 4.7.12 A password transition is needed", "auth", RECONNECTS),
    ("599 5.9.9 Something else", "auth", PARKS),
    # too many recipients at RCPT is a matter of this transaction, not of the sender
    ("452 4.5.3 Too many recipients", "dot", LATER),
    ("550 5.5.3 Something else", "dot", REFUSED),
    # the words of one phase in another
    ("454 4.7.0 Temporary authentication failure", "dot", LATER),
    ("554 5.7.1 Relay access denied", "rcpt", ("rejected", "recipient", "none", None)),
    ("451 4.7.1 Greylisted, try again later", "rcpt", ("deferred", "recipient", "none", None)),
    ("451 4.7.700 PFA agent busy, please try again", "mail", LATER),
    ("550 5.7.504 Access denied", "dot", REFUSED),
    ("550 5.7.7051 Access denied", "dot", REFUSED),
    ("554 no service", "connect", RECONNECTS),
    ("454 4.3.0 TLS not available due to temporary reason", "starttls", RECONNECTS),
    ("550 no", "dot", REFUSED),
    ("550 no", "rcpt", ("rejected", "recipient", "none", None)),
    ("450 later", "mail", LATER),
    ("199 hm", "mail", RECONNECTS),
]  # fmt: skip


@pytest.mark.parametrize(("line", "phase", "meaning"), NEAR_MISSES, ids=[f"{p} {r[:40]}" for r, p, _ in NEAR_MISSES])
def test_a_neighbour_of_a_known_reply_is_judged_otherwise(
    line: str, phase: str, meaning: tuple[str, str, str, str | None]
) -> None:
    assert gist(judged(line, phase)) == meaning


def test_no_row_is_dead_hidden_or_untested() -> None:
    """Each row, the defaults too, is reached by a reply of the two tables above."""
    reached = set()
    for line, phase, _ in VERBATIM + NEAR_MISSES:
        reply = said(line, phase)
        for by_token in (True, False):
            reached.add(
                next(n for n, row in enumerate(CATALOGUE) if row.fits(reply, without_diagnostics(reply.text), by_token))
            )
    assert [row.cause for n, row in enumerate(CATALOGUE) if n not in reached] == []


@pytest.mark.parametrize("phase", list(Phase))
def test_a_421_ends_the_session_in_any_phase_and_never_parks(phase: Phase) -> None:
    assert gist(judge(Reply(421, None, "bye", phase))) == RECONNECTS


def test_no_4xx_reply_ever_parks() -> None:
    """Not in the catalogue, and so not by any of its rows."""
    for phase in Phase:
        for code in (421, 432, 450, 451, 452, 454):
            for enhanced in (None, "4.7.139", "5.7.139", "5.2.251", "5.7.705"):
                text = "account locked. Sender throttled due to continuous mailbox full errors. bad outbound sender"
                assert judge(Reply(code, enhanced, text, phase)).effect is not Effect.PARK


def test_a_reply_split_over_lines_is_judged_like_one_on_a_single_line() -> None:
    """The enhanced code may be repeated on every line, and words may be parted anywhere between them."""
    split = (
        "550-5.2.252 Sender throttled due to\n550-5.2.252  continuous send as\n550 5.2.252 denied errors."  # two blanks
    )
    assert gist(judged(split, "dot")) == parks("send-as")
    bare = "554-5.2.252 SendAsDenied; a@contoso.com not allowed\n554 to send as b@contoso.com"
    assert gist(judged(bare, "dot")) == SEND_AS


def test_an_unknown_exception_of_the_store_is_named_for_an_alert() -> None:
    """And a known one is not."""
    text = f"554 5.2.0 {_STOREDRV}FooException.MapiExceptionBar; Failed [BeginDiagnosticData]x[EndDiagnosticData]"
    assert judged(text, "dot").alert == "FooException.MapiExceptionBar"
    assert judged(f"554 5.2.0 {_STOREDRV}SendAsDeniedException; no", "dot").alert is None


def test_quota_waits_an_hour_and_concurrency_a_moment() -> None:
    assert judged(f"554 5.2.0 {_STOREDRV}SubmissionQuotaExceededException", "dot").retry_after == 3600
    assert judged("432 4.3.2 Concurrent connections limit exceeded.", "dot").retry_after == 10


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("451 4.7.1 Greylisted, please try again in 5 minutes", 300),
        ("421 4.3.2 Service not active, try again in 30 seconds", 30),
        ("432 4.3.2 Concurrent connections limit exceeded, retry after 20", 20),
        ("451 4.7.1 try again later", None),
        ("550 5.7.1 try again in 5 minutes", None),  # refused for good, whatever else it says
    ],
)
def test_a_wait_that_a_transient_reply_names_is_kept(line: str, seconds: float | None) -> None:
    assert judged(line, "mail").retry_after == seconds


# ---------------------------------------------------------------- the catalogue as a whole


def test_the_catalogue_ends_in_a_row_that_fits_everything() -> None:
    assert CATALOGUE[-1].fits(Reply(0, None, "", Phase.CONNECT), "")


def test_every_parking_row_says_what_to_do() -> None:
    for row in CATALOGUE:
        assert row.cause, row
        assert row.cause.endswith(".")
        if row.effect is not Effect.NONE and row.code is not None:
            assert row.cure, row


def test_every_refused_sign_in_has_a_kind() -> None:
    for row in CATALOGUE:
        if row.phases == {Phase.AUTH}:
            assert isinstance(row.sign_in, SignInKind), row


def test_the_page_in_the_docs_is_made_from_the_catalogue() -> None:
    page = Path(__file__).parents[2] / "docs" / "replies.md"
    assert page.read_text(encoding="utf-8") == render_markdown()


def test_the_page_has_a_line_for_every_row() -> None:
    """And no cell breaks out of its table."""
    tables = [line for line in render_markdown().split("\n") if line.startswith("| ") and "| Cause |" not in line]
    rows = [line for line in tables if len(re.findall(r"(?<!\\)\|", line)) == 6]
    assert len(rows) == len(CATALOGUE)
