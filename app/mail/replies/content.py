"""Replies to the content, where Exchange's real judgement falls: quota, Send-As, licence, spam, the STOREDRV family.

``5.2.252`` has two meanings and ``5.2.0`` many: reply code and words decide, never the enhanced code alone. The rows
hold for the whole transaction, since no document says that Exchange could not speak earlier.
"""

from __future__ import annotations

from typing import Final

from app.mail.replies.envelope import GRANT_SEND_AS
from app.mail.rule import Effect, Outcome, Row, Scope, row

_KEPT: Final = Outcome.KEPT
_REJECTED: Final = Outcome.REJECTED
_DEFERRED: Final = Outcome.DEFERRED
_MAILBOX: Final = Scope.MAILBOX
_TRANSACTION: Final = "mail rcpt data dot"
_HOUR: Final = 3600.0

_THROTTLED: Final = r"Sender throttled due to continuous"
_STOREDRV: Final = r"STOREDRV\.Submission\.Exception:\s*"
_RESUME: Final = "Then run: postroom mailbox resume NAME."
_BLOCKED: Final = (
    "Exchange blocks the mailbox for a time it does not tell, and support cannot lift it. Wait some hours after the "
    f"cause is gone. {_RESUME}"
)
_MAKE_ROOM: Final = (
    "Empty Sent Items and Deleted Items, or set a retention policy; and stop the copies: Set-Mailbox MAILBOX "
    "-MessageCopyForSMTPClientSubmissionEnabled $false."
)
_DAY_FULL: Final = (
    "The mailbox has sent to 10,000 recipients within 24 hours; Exchange takes no more until some are older."
)
_DAY_FULL_CURE: Final = (
    "Nothing; the mail goes as the window gets room. If Postroom's own count is lower, other programs use the mailbox, "
    "or the account is abused. More a day: several mailboxes for one From."
)
_LICENSE: Final = (
    "Assign a licence with Exchange Online in the admin center, or make it a shared mailbox, which an app uses without "
    "one: Set-Mailbox MAILBOX -Type Shared."
)
_ASK_SUPPORT: Final = (
    "Find out who sends what (Defender portal > Restricted entities; message trace), secure the account with a new "
    f"credential, then ask Microsoft support to lift the block. {_RESUME}"
)
_EXTERNAL_DAY: Final = (
    "The organisation has sent to as many external recipients within 24 hours as its licences allow "
    "(500 × licences^0.7 + 9,500; trials 5,000)."
)

# Not left to the formatter: the pattern of a row stands on one line, what it means below.
ROWS: Final[tuple[Row, ...]] = (
    # Too many at once, too many a day: clears by itself.
    row(
        _TRANSACTION, 432, "", None, _DEFERRED, _MAILBOX, Effect.NARROW, wait=10.0,
        cause="The mailbox submits more than three messages at once; other programs use it too.",
        cure="Give Postroom a mailbox of its own, or lower sessions of the mailbox.",
    ),
    row(
        _TRANSACTION, 5, "", r"SubmissionQuotaExceeded|submission quota( was)? exceeded", _DEFERRED, _MAILBOX,
        Effect.DAY_FULL, wait=_HOUR, cause=_DAY_FULL, cure=_DAY_FULL_CURE,
    ),
    row(
        _TRANSACTION, 5, "5.1.90", None, _DEFERRED, _MAILBOX, Effect.DAY_FULL,
        wait=_HOUR, cause=_DAY_FULL, cure=_DAY_FULL_CURE,
    ),
    row(
        _TRANSACTION, 5, "5.7.232 5.7.233", None, _DEFERRED, Scope.CONNECTION, Effect.EXTERNAL_DAY_FULL, wait=_HOUR,
        cause=_EXTERNAL_DAY,
        cure="Nothing; external mail goes as the window gets room, internal mail goes on. More a day: more licences, "
        "or Azure Communication Services for bulk mail.",
    ),
    # Continuous errors: the whole mailbox is blocked.
    row(
        _TRANSACTION, 550, "5.2.251", _THROTTLED, _KEPT, _MAILBOX, Effect.PARK, family="mailbox-full",
        cause="Exchange blocks the mailbox, because it kept sending while it was full.",
        cure=f"{_MAKE_ROOM} {_BLOCKED}",
    ),
    row(
        _TRANSACTION, 550, "5.2.252", _THROTTLED, _KEPT, _MAILBOX, Effect.PARK, family="send-as",
        cause="Exchange blocks the mailbox, because it kept sending as addresses it may not use.",
        cure=f"Grant them or take them out of senders: Add-RecipientPermission FROM -AccessRights SendAs -Trustee "
        f"MAILBOX. {_BLOCKED}",
    ),
    row(
        _TRANSACTION, 550, "5.2.253", _THROTTLED, _KEPT, _MAILBOX, Effect.PARK, family="license",
        cause="Exchange blocks the mailbox, because it kept sending without a valid licence.",
        cure=f"{_LICENSE} {_BLOCKED}",
    ),
    row(
        _TRANSACTION, 550, "5.2.254", _THROTTLED, _KEPT, _MAILBOX, Effect.PARK, family="too-many-recipients",
        cause="Exchange blocks the mailbox, because it kept sending messages with too many recipients.",
        cure="Set recipients_per_message of the mailbox to what Get-Mailbox MAILBOX | fl RecipientLimits says. "
        f"{_BLOCKED}",
    ),
    row(
        _TRANSACTION, 550, "5.2.255", _THROTTLED, _KEPT, _MAILBOX, Effect.PARK, family="invalid-recipient",
        cause="Exchange blocks the mailbox, because it kept sending to addresses that do not exist.",
        cure=f"Find the source of the addresses and clean it. {_BLOCKED}",
    ),
    # One message refused by the store, by the name of its exception.
    row(
        _TRANSACTION, 554, "", rf"SendAsDenied;|{_STOREDRV}SendAsDenied", _REJECTED, Scope.SENDER, Effect.STRIKE,
        family="send-as",
        cause="The mailbox may not send as this From address.",
        cure=GRANT_SEND_AS,
    ),
    row(
        "mail data dot", 554, "", rf"^mailbox full|{_STOREDRV}QuotaExceeded", _KEPT, _MAILBOX, Effect.PARK,
        family="mailbox-full",
        cause="The mailbox that sends is full: by default it keeps a copy of all it sends.",
        cure=f"{_MAKE_ROOM} {_RESUME}",
    ),
    row(
        _TRANSACTION, 5, "", rf"{_STOREDRV}\w*Licen[cs]e", _KEPT, _MAILBOX, Effect.PARK, family="license",
        cause="The mailbox that sends has no valid licence.",
        cure=f"{_LICENSE} {_RESUME}",
    ),
    row(
        _TRANSACTION, 5, "", rf"{_STOREDRV}(MessageSubmissionExceeded|MessageTooBig|AttachmentExceeded)", _REJECTED,
        Scope.MESSAGE,
        cause="The message is larger than the mailbox may send.",
        cure="Set-Mailbox MAILBOX -MaxSendSize 150MB (the default is 35 MB), and set message_size to the same.",
    ),
    row(
        _TRANSACTION, 5, "", rf"{_STOREDRV}InvalidRecipients", _REJECTED, Scope.RECIPIENT, Effect.STRIKE,
        family="invalid-recipient",
        cause="A recipient's address cannot be read by Exchange.",
        cure="Correct the address at its source.",
    ),
    row(
        _TRANSACTION, 5, "", rf"{_STOREDRV}OutboundSpam", _REJECTED, Scope.MESSAGE,
        cause="Exchange takes the message for spam, or the mailbox for one that sends spam.",
        cure="Sign in to the mailbox once by a browser and see whether Microsoft asks for a proof; look under "
        "Restricted entities in the Defender portal; see that the domain has SPF, DKIM and DMARC.",
    ),
    row(
        _TRANSACTION, 5, "", rf"{_STOREDRV}\w+", _REJECTED, Scope.MESSAGE,
        alerts=True,
        cause="Exchange's store refused the message for a reason this catalogue does not know; its name follows "
        "STOREDRV.Submission.Exception.",
        cure="Search Microsoft's pages for that name. If it passes with time, or stops the mailbox, say so by a row "
        "under [[replies]] in the configuration.",
    ),
    row(
        _TRANSACTION, 4, "", r"STOREDRV", _DEFERRED, Scope.MESSAGE,
        cause="The mailbox's store does not take the message for now.",
    ),
    # The account or the organisation is blocked.
    row(
        _TRANSACTION, 5, "5.1.8", r"bad outbound sender", _KEPT, _MAILBOX, Effect.PARK,
        cause="Microsoft has restricted the mailbox for suspicious or too much mail.",
        cure="Secure the account (new credential, look at inbox rules), then Defender portal > Email & collaboration > "
        f"Restricted entities > unblock; it takes an hour. {_RESUME}",
    ),
    row(
        _TRANSACTION, 5, "5.7.501 5.7.502 5.7.503", None, _KEPT, _MAILBOX, Effect.PARK,
        cause="Microsoft has banned the account for spam.",
        cure=_ASK_SUPPORT,
    ),
    row(
        _TRANSACTION, 5, "5.7.705", None, _KEPT, Scope.CONNECTION, Effect.PARK,
        cause="The organisation sends more suspicious mail than Microsoft accepts; none of its mailboxes may send.",
        cure=_ASK_SUPPORT,
    ),
    row(
        _TRANSACTION, 5, "5.7.708", None, _KEPT, Scope.CONNECTION, Effect.PARK,
        cause="Microsoft takes no mail of this organisation from the address it comes from; frequent with trials.",
        cure=f"Ask Microsoft support; a trial must become a paid subscription first. {_RESUME}",
    ),
    row(
        _TRANSACTION, 5, "5.7.750", None, _KEPT, Scope.CONNECTION, Effect.PARK,
        cause="The organisation sends from domains that are not registered with it.",
        cure="Add and verify the domains (admin center > Settings > Domains; Get-AcceptedDomain), take others out of "
        f"senders. {_RESUME}",
    ),
    row(
        _TRANSACTION, 5, "5.7.703", None, _REJECTED, Scope.MESSAGE,
        cause="A recipient is blocked by the organisation's own list, which refuses the message for all.",
        cure="Defender portal > Policies & rules > Threat policies > Tenant Allow/Block Lists: take the recipient out.",
    ),
    # Form and identity.
    row(
        _TRANSACTION, 5, "5.7.509", None, _REJECTED, Scope.SENDER,
        cause="The From domain fails DMARC, and its owner asks to reject such mail.",
        cure="Verify the domain in the organisation and switch DKIM on: New-DkimSigningConfig -DomainName DOMAIN "
        "-Enabled $true; SPF: v=spf1 include:spf.protection.outlook.com -all.",
    ),
    row(
        _TRANSACTION, 5, "5.7.512", None, _REJECTED, Scope.MESSAGE,
        cause="Exchange finds no valid address in From (RFC 5322 §3.6.2).",
        cure="Give From as one address, a display name with @ in quotes.",
    ),
    row(
        _TRANSACTION, 5, "5.1.20", None, _REJECTED, Scope.MESSAGE,
        cause="The message has several From addresses and no Sender.",
        cure="Give one From address.",
    ),
    row(
        _TRANSACTION, 5, "5.6.11", None, _REJECTED, Scope.MESSAGE,
        cause="The next hop does not take bare line feeds.",
        cure="Report this with the reply: Postroom sends CRLF only.",
    ),
    row(
        _TRANSACTION, 5, "5.4.300", None, _REJECTED, Scope.MESSAGE,
        cause="Exchange could not deliver the message within its time.",
        cure="Check the recipient's domain and its MX; then send again.",
    ),
    row(
        _TRANSACTION, 550, "5.7.1", None, _REJECTED, Scope.RECIPIENT,
        cause="A rule or a missing permission, here or at the recipient's, forbids this message.",
        cure="Read the words; look at mail flow rules (Get-TransportRule) and at the recipient's restrictions.",
    ),
    row(
        _TRANSACTION, 5, "5.0.350 5.5.0", None, _REJECTED, Scope.MESSAGE,
        cause="The recipient's server refused the message; its own words follow.",
        cure="Read the words; they are the other server's.",
    ),
    # The server is busy.
    row(
        _TRANSACTION, 451, "4.7.5?? 4.7.6??", None, _DEFERRED, Scope.MESSAGE,
        cause="Exchange lets senders it does not know well wait.",
        cure="Nothing; it passes. If not, check that host is smtp.office365.com and not the MX host.",
    ),
    row(
        _TRANSACTION, 451, "4.7.0", r"Temporary server error", _DEFERRED, Scope.MESSAGE,
        cause="Exchange's front end does not reach the mailbox's server at present.",
        cure="Nothing; it passes.",
    ),
)  # fmt: skip
