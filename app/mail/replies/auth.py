"""Replies to a sign-in: which refusals park the mailbox, what each means, and the command that repairs it.

A 4xx here never parks: it says nothing about the credential. The dates of basic authentication are kept here.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from app.mail.rule import Effect, Outcome, Row, Scope, SignInKind, row

# Microsoft's plan of January 2026: off by default from then on, an administrator may switch it on again; the date of
# the final removal is to be told in the second half of 2027.
BASIC_AUTH_ENDS: Final = date(2026, 12, 31)

_KEPT: Final = Outcome.KEPT
_MAILBOX: Final = Scope.MAILBOX
_PARK: Final = Effect.PARK

_USE_OAUTH: Final = (
    "Better: let an app sign in (method client-certificate; postroom setup exchange prints the set-up). Microsoft "
    "switches basic authentication off by default at the end of December 2026."
)
_RESUME: Final = "Then run: postroom mailbox resume NAME."

_CHECKLIST: Final = (
    "Check in this order. "
    "(1) Object ID: New-ServicePrincipal -AppId CLIENT_ID -ObjectId OBJECT_ID takes the one under Enterprise "
    "applications, not the one under App registrations; Get-ServicePrincipal shows what is registered. "
    "(2) Audience: scope must be https://outlook.office365.com/.default (delegated: "
    "https://outlook.office.com/SMTP.Send offline_access), never a scope of Microsoft Graph. "
    "(3) Right: with App RBAC a role assignment whose scope holds the mailbox "
    '(New-ManagementRoleAssignment -Role "Application SMTP.SendAsApp" -App CLIENT_ID -CustomResourceScope SCOPE; test: '
    "Test-ServicePrincipalAuthorization -Identity APP -Resource MAILBOX); in the classic way the application "
    "permission SMTP.SendAsApp with admin consent and "
    "Add-MailboxPermission MAILBOX -User OBJECT_ID -AccessRights FullAccess. "
    "(4) Kind of right: SMTP.SendAsApp is for an app that signs in by itself, SMTP.Send for a user's consent; not the "
    "other way round. "
    "(5) Address: the mailbox's primary SMTP address, no alias: Get-Mailbox MAILBOX | fl PrimarySmtpAddress. "
    "(6) Time: a new permission works after 60 to 90 minutes; judge after two hours. "
    "(7) Licence: a shared mailbox needs none, a user mailbox does."
)

# Not left to the formatter: the pattern of a row stands on one line, what it means below.
ROWS: Final[tuple[Row, ...]] = (
    row(
        "auth", 5, "5.7.139", r"SmtpClientAuthentication is disabled for the Tenant", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.SWITCHED_OFF,
        cause="SMTP AUTH is switched off in the organisation; OAuth needs it too.",
        cure="Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false (the mailbox's setting goes before the "
        "organisation's), or Set-TransportConfig -SmtpClientAuthenticationDisabled $false for all.",
    ),
    row(
        "auth", 5, "5.7.139", r"SmtpClientAuthentication is disabled for the Mailbox", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.SWITCHED_OFF,
        cause="SMTP AUTH is switched off for this mailbox; OAuth needs it too.",
        cure="Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false.",
    ),
    row(
        "auth", 5, "5.7.139", r"security defaults policy", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.POLICY,
        cause="The organisation's Security Defaults block signing in with a password.",
        cure="Let an app sign in (method client-certificate; works with Security Defaults on), or replace Security "
        f"Defaults by Conditional Access that exempts this account. {_RESUME}",
    ),
    row(
        "auth", 5, "5.7.139", r"did not meet the criteria", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.POLICY,
        cause="A Conditional Access policy, a block of legacy authentication or of this location refused the sign-in; "
        "Exchange says the same of ordinary failures, a wrong password among them.",
        cure="Look up the sign-in in Entra (Monitoring > Sign-in logs) and exempt the account from the policy that "
        f"blocked it. {_USE_OAUTH} {_RESUME}",
    ),
    row(
        "auth", 5, "5.7.139", r"credentials were incorrect", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.PASSWORD,
        cause="The password is wrong or expired, or the account uses multi-factor authentication and this is no app "
        "password. It is not tried again: repeated failures lock the account.",
        cure=f"Put in the right password or a new app password and reload. {_USE_OAUTH}",
    ),
    row(
        "auth", 5, "5.7.139", r"account (is )?locked", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.LOCKED,
        cause="Entra has locked the account after failed sign-ins. Each further one keeps it locked.",
        cure="Stop every program that signs in as this account, unblock the sign-in in Entra, set a new password, wait "
        f"30 minutes. {_RESUME}",
    ),
    row(
        "auth", 5, "5.7.139", r"basic authentication is disabled", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.SWITCHED_OFF,
        cause="An authentication policy blocks passwords for SMTP.",
        cure="Let an app sign in (method client-certificate; postroom setup exchange prints the set-up), or "
        f"Set-AuthenticationPolicy POLICY -AllowBasicAuthSmtp. {_RESUME}",
    ),
    row(
        "auth", 5, "5.7.139", r"federated STS", _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.SERVICE,
        cause="The organisation's own sign-in service (AD FS) could not be reached or does not offer HTTPS.",
        cure="Mend AD FS: reachable from the internet, HTTPS with TLS 1.2. The sign-in is tried again by itself.",
    ),
    row(
        "auth", 5, "5.7.139", None, _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.OTHER,
        cause="Exchange refused the sign-in and names its reason in the reply.",
        cure=f"Look up the sign-in in Entra (Monitoring > Sign-in logs). {_RESUME}",
    ),
    row(
        "auth", 535, "5.7.3 5.7.8 -", None, _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.TOKEN,
        by_token=True,
        cause="Entra issued a token, but Exchange accepts it nowhere: audience, role, service principal, mailbox right "
        "or address do not fit, or a new permission does not work yet.",
        cure=_CHECKLIST,
    ),
    row(
        "auth", 535, "5.7.3 5.7.8 -", None, _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.PASSWORD,
        by_token=False,
        cause="User name or password is wrong, SMTP AUTH is off for the mailbox, or the account uses multi-factor "
        "authentication and this is no app password. It is not tried again: repeated failures lock the account.",
        cure="Check the password; Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false; with multi-factor "
        f"authentication make an app password. {_USE_OAUTH} {_RESUME}",
    ),
    row(
        "auth mail", 5, "5.7.30", None, _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.SWITCHED_OFF,
        cause="Basic authentication has been retired for client submission; app passwords are basic authentication.",
        cure="Let an app sign in (method client-certificate; postroom setup exchange prints the set-up). From the "
        "end of December 2026 passwords are off by default; an administrator may switch them on again for a while. "
        f"{_RESUME}",
    ),
    row(
        "auth", 504, "", None, _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.CLIENT,
        cause="The server does not know this way of signing in. Exchange knows LOGIN and XOAUTH2.",
        cure=f"Check host and profile of the connection, and look for a proxy that changes EHLO. {_RESUME}",
    ),
    row(
        "auth", 501, "", None, _KEPT, _MAILBOX, _PARK,
        sign_in=SignInKind.CLIENT,
        cause="The server could not read what was sent to sign in.",
        cure=f"Check the mailbox's address and username for stray characters. {_RESUME}",
    ),
    row(
        "auth", 454, "4.7.0", r"Temporary authentication failure", _KEPT, Scope.SESSION, Effect.RECONNECT,
        sign_in=SignInKind.SERVICE,
        cause="Exchange cannot check a sign-in at present; the credential was not refused.",
        cure="Nothing; it is tried again after 1, 2, 4 … 60 seconds.",
    ),
    row(
        "auth", 451, "4.7.0", r"Temporary server error", _KEPT, Scope.SESSION, Effect.RECONNECT,
        sign_in=SignInKind.SERVICE,
        cause="Exchange's front end does not reach the mailbox's server at present.",
        cure="Nothing; it is tried again after 1, 2, 4 … 60 seconds.",
    ),
)  # fmt: skip
