"""Replies to the envelope: MAIL and RCPT, and those that judge sender, recipients or size wherever they come."""

from __future__ import annotations

from typing import Final

from app.mail.rule import Effect, Outcome, Row, Scope, row

_KEPT: Final = Outcome.KEPT
_REJECTED: Final = Outcome.REJECTED
_DEFERRED: Final = Outcome.DEFERRED
_TRANSACTION: Final = "mail rcpt data dot"

GRANT_SEND_AS: Final = (
    "Add-RecipientPermission FROM -AccessRights SendAs -Trustee MAILBOX, and list FROM under send_as of the mailbox; "
    "or give FROM a mailbox of its own in the configuration. It takes up to 90 minutes; then run: "
    "postroom sender release TENANT FROM."
)
_FIX_RECIPIENT: Final = "Correct the address at its source; for 24 hours it is refused without asking Exchange."
_WRONG_HOST: Final = (
    "host of the connection must be smtp.office365.com (or its like in your cloud), never the tenant's MX host "
    "(…mail.protection.outlook.com); then run: postroom mailbox resume NAME."
)

# Not left to the formatter: the pattern of a row stands on one line, what it means below.
ROWS: Final[tuple[Row, ...]] = (
    # A session that is not signed in.
    row(
        _TRANSACTION, 530, "5.7.57", r"Error: [245]\d\d\b", _KEPT, Scope.MAILBOX,
        looks_inside=True,
        cause="The session is not signed in; the reply to the sign-in stands within the words and is what counts.",
        cure="As for that reply.",
    ),
    row(
        _TRANSACTION, 530, "5.7.57 5.7.1 5.7.0", r"authenticat", _KEPT, Scope.SESSION, Effect.RECONNECT,
        cause="The session is no longer signed in.",
        cure="Nothing; a new session signs in anew, and if that is refused, its reply says why.",
    ),
    # The way in is the wrong one: the tenant's MX host, or a sender the connector does not know.
    row(
        _TRANSACTION, 5, "5.7.64", None, _KEPT, Scope.CONNECTION, Effect.PARK,
        cause="This is the tenant's MX host, where a relay is known by its connector; ours is not.",
        cure=_WRONG_HOST,
    ),
    row(
        _TRANSACTION, 5, "5.7.68", None, _KEPT, Scope.CONNECTION, Effect.PARK,
        cause="This is the tenant's MX host, and the organisation rejects Direct Send.",
        cure=_WRONG_HOST,
    ),
    # Size. The header's own limit first: it shares the code.
    row(
        _TRANSACTION, 552, "5.3.4", r"Header size", _REJECTED, Scope.MESSAGE,
        cause="The header block is larger than Exchange takes (256 KB).",
        cure="Send fewer or shorter header fields; many recipients belong in bcc, which takes no room in the header.",
    ),
    row(
        _TRANSACTION, 5, "5.3.4 5.2.3", None, _REJECTED, Scope.MESSAGE,
        cause="The message is larger than the mailbox or Exchange takes.",
        cure="Set-Mailbox MAILBOX -MaxSendSize 150MB (the default is 35 MB, 150 MB the most), and set message_size of "
        "the mailbox to the same; base64 adds a third to every attachment.",
    ),
    row(
        "mail data dot", 552, "", r"message size|too (large|big)", _REJECTED, Scope.MESSAGE,
        cause="The message is larger than the server takes.",
        cure="Set message_size of the mailbox to what the server takes, so that larger ones are refused at once.",
    ),
    # The sender.
    row(
        "mail data dot", 5, "5.7.60", None, _REJECTED, Scope.SENDER, Effect.STRIKE, family="send-as",
        cause="The mailbox may not send as this From address.",
        cure=GRANT_SEND_AS,
    ),
    row(
        "mail", 501, "5.1.7", None, _REJECTED, Scope.MESSAGE,
        cause="The server cannot read the return path, which is the mailbox's address.",
        cure="Check address of the mailbox in the configuration.",
    ),
    # Recipients.
    row(
        "rcpt", 452, "4.5.3", None, _DEFERRED, Scope.RECIPIENT,
        cause="The message has more recipients than the server takes in one transaction; the rest follows in another.",
        cure="Set recipients_per_message of the mailbox to what the server takes.",
    ),
    row(
        _TRANSACTION, 5, "5.5.3", r"RecipLimit|too many recipients", _REJECTED, Scope.SENDER, Effect.STRIKE,
        family="too-many-recipients",
        cause="The message has more recipients than the mailbox may address at once.",
        cure="Split the message, or Set-Mailbox MAILBOX -RecipientLimits 1000 (default 500) and set "
        "recipients_per_message of the mailbox to the same. Then run: postroom sender release TENANT FROM.",
    ),
    row(
        _TRANSACTION, 5, "5.4.1", r"Recipient address rejected", _REJECTED, Scope.RECIPIENT, Effect.STRIKE,
        family="invalid-recipient",
        cause="The recipient's organisation does not know this address.",
        cure=_FIX_RECIPIENT,
    ),
    row(
        "rcpt data dot", 5, "5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10", None, _REJECTED, Scope.RECIPIENT, Effect.STRIKE,
        family="invalid-recipient",
        cause="A recipient's address does not exist or cannot be read.",
        cure=_FIX_RECIPIENT,
    ),
    row(
        "rcpt", 5, "5.2.2", None, _REJECTED, Scope.RECIPIENT,
        cause="The recipient's mailbox is full.",
        cure="The recipient must make room; then send again.",
    ),
    row(
        _TRANSACTION, None, "5.2.121 5.2.122 4.2.121 4.2.122", None, _DEFERRED, Scope.RECIPIENT, wait=3600.0,
        cause="The recipient's mailbox gets more mail an hour than Exchange delivers to one (3,600; from one sender "
        "less).",
        cure="Send less to this address: a digest in place of single messages.",
    ),
    row(
        _TRANSACTION, 5, "5.7.12 5.7.124 5.7.129 5.7.133 5.7.134", None, _REJECTED, Scope.RECIPIENT,
        cause="The recipient takes mail from certain senders only.",
        cure="The owner of the mailbox or group must allow the sender: Set-DistributionGroup GROUP "
        "-AcceptMessagesOnlyFromSendersOrMembers, or -RequireSenderAuthenticationEnabled $false.",
    ),
    row(
        _TRANSACTION, 550, "5.5.105", None, _REJECTED, Scope.RECIPIENT,
        cause="High Volume Email delivers to recipients of the own organisation only.",
        cure="Send to external recipients through a mailbox on smtp.office365.com.",
    ),
    # Syntax and order.
    row(
        _TRANSACTION, 5, "5.6.7", None, _REJECTED, Scope.RECIPIENT,
        cause="An address needs SMTPUTF8 (RFC 6531), which the server does not offer or the recipient's does not take.",
        cure="Use an address whose local part is ASCII; a domain may be international all the same.",
    ),
    row(
        _TRANSACTION, 501, "5.5.4", None, _REJECTED, Scope.MESSAGE,
        cause="The server did not understand an argument of the envelope.",
        cure="Report this with the reply: Postroom sends only what the server has offered.",
    ),
    row(
        _TRANSACTION, 555, "", None, _REJECTED, Scope.MESSAGE,
        cause="The server did not understand a parameter of the envelope (RFC 5321 §4.1.1.11).",
        cure="Report this with the reply: Postroom sends only what the server has offered.",
    ),
    row(
        _TRANSACTION, 503, "", None, _KEPT, Scope.SESSION, Effect.RECONNECT,
        cause="Server and session disagree about where they are; nothing was taken.",
        cure="Nothing; a new session is opened. If it is frequent, set pipelining = false in the connection.",
    ),
)  # fmt: skip
