"""Writes the PowerShell that prepares Exchange Online for a configuration: mailboxes, App RBAC, the classic way, undo.

The script defines functions and does nothing until one is called, so that it can be read, pasted and run as a whole.
Every value of the configuration stands in single quotes, where PowerShell reads nothing into it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.settings import MailboxPlan, Settings
from app.settings.connections import Connection, RefreshTokenAuth, TokenAuth

CLIENT_ID: Final = "CLIENT_ID"  # stands where the configuration names no app

# PowerShell takes the typographic quotes for the plain one (about_Quoting_Rules).
_QUOTES: Final = re.compile("['\u2018\u2019\u201a\u201b]")
_CLOUDS: Final = {
    "worldwide": ("", ""),
    "gcc-high": (" -ExchangeEnvironmentName O365USGovGCCHigh", " -Environment USGov"),
    "dod": (" -ExchangeEnvironmentName O365USGovDoD", " -Environment USGovDoD"),
    "china": (" -ExchangeEnvironmentName O365China", " -Environment China"),
}


@dataclass(frozen=True, slots=True)
class Estate:
    """One connection as Exchange must know it; ``sign_ins`` and the senders may be ``*@domain``.

    ``grants`` are pairs of a sender and the mailbox that sends as it. ``client_id`` None: no app is named.
    """

    connection: str
    cloud: str
    client_id: str | None
    is_app: bool
    sign_ins: tuple[str, ...]
    grants: tuple[tuple[str, str], ...]


def quoted(text: str) -> str:
    """Return a text as a PowerShell literal."""
    return "'" + _QUOTES.sub(lambda quote: quote[0] * 2, text) + "'"


def estates_of(settings: Settings) -> list[Estate]:
    """Return each connection to Exchange Online that has mailboxes."""
    plans = settings.mailbox_plans()
    return [
        _estate(name, connection, [plan for plan in plans if plan.connection_name == name])
        for name, connection in settings.connections.items()
        if connection.profile == "exchange" and any(plan.connection_name == name for plan in plans)
    ]


def _estate(name: str, connection: Connection, plans: Sequence[MailboxPlan]) -> Estate:
    auth = connection.auth
    return Estate(
        connection=name,
        cloud=auth.cloud if isinstance(auth, TokenAuth) else "worldwide",
        client_id=getattr(auth, "client_id", None),
        is_app=not isinstance(auth, RefreshTokenAuth),
        sign_ins=tuple(str(plan.address) for plan in plans),
        grants=tuple((str(sender), str(plan.address)) for plan in plans for sender in plan.send_as),
    )


def exchange_setup(settings: Settings) -> str:
    """Return the script for every connection to Exchange Online; a sentence in a comment where there is none."""
    estates = estates_of(settings)
    if not estates:
        return '# No mailbox uses a connection with profile = "exchange": nothing is to be set up in Exchange Online.\n'
    return "\n".join(_script(estate) for estate in estates)


def _script(estate: Estate) -> str:
    parts = [_head(estate), _values(estate), _MAILBOXES]
    parts += [_app(estate), _APP_RBAC, _CLASSIC] if estate.is_app else []
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _head(estate: Estate) -> str:
    exchange, graph = _CLOUDS[estate.cloud]
    lines = [
        f"# ==== Exchange Online for Postroom, connection {estate.connection} ====",
        "#",
        "# This defines functions and changes nothing yet. Connect as an Exchange administrator, run it, then call:",
        "#",
        "#   Initialize-PostroomMailboxes      the mailboxes: SMTP AUTH on, no copies, Send As",
    ]
    if estate.is_app:
        lines += [
            "#   Enable-PostroomAppRbac            the app, by App RBAC (advised) ...",
            "#   Enable-PostroomClassic            ... or by SMTP.SendAsApp, the classic way: one of the two, not both",
            "#   Test-PostroomAppRbac              App RBAC: the column InScope must say True",
            "#",
            "# To take it back: Disable-PostroomAppRbac, Disable-PostroomClassic, Undo-PostroomMailboxes.",
        ]
    else:
        lines += ["#", "# A user signs in here (refresh token), so no app gets a right. To take it back:"]
        lines += ["# Undo-PostroomMailboxes."]
    lines += [
        "# Each may be called again, for instance when a mailbox has come.",
        "#",
        "# Exchange takes 60 to 90 minutes to act on new rights: wait two hours before you judge a 535 5.7.3.",
        "",
        "# Install-Module ExchangeOnlineManagement",
        f"Connect-ExchangeOnline{exchange}",
    ]
    if estate.is_app:
        lines += [
            "# Install-Module Microsoft.Graph.Applications",
            f"Connect-MgGraph -Scopes 'Application.Read.All'{graph}",
        ]
    return "\n".join(lines)


def _values(estate: Estate) -> str:
    mailboxes = "".join(f"    {quoted(address)}\n" for address in estate.sign_ins)
    grants = "".join(
        f"    @{{ Sender = {quoted(sender)}; Mailbox = {quoted(mailbox)} }}\n" for sender, mailbox in estate.grants
    )
    return f"""
# The mailboxes that Postroom signs in as; *@domain stands for every mailbox of the domain.
$mailboxes = @(
{mailboxes})

# What each of them sends as besides itself.
$grants = @(
{grants})
"""


_MAILBOXES: Final = r"""
# Return the mailboxes that an entry stands for.
function Get-PostroomMailbox([string] $Entry) {
    if (-not $Entry.StartsWith('*@')) { return $Entry }
    Get-Mailbox -ResultSize Unlimited |
        Where-Object { [string] $_.PrimarySmtpAddress -like $Entry } |
        ForEach-Object { [string] $_.PrimarySmtpAddress }
}

# Call a block with each sender and the mailbox that sends as it; a mailbox needs no right to send as itself.
function Invoke-PostroomGrant([scriptblock] $Block) {
    foreach ($grant in $grants) {
        foreach ($from in @(Get-PostroomMailbox $grant.Sender)) {
            foreach ($mailbox in @(Get-PostroomMailbox $grant.Mailbox)) {
                if ($from -ne $mailbox) { & $Block $from $mailbox }
            }
        }
    }
}

function Initialize-PostroomMailboxes {
    $ErrorActionPreference = 'Stop'
    foreach ($entry in $mailboxes) {
        foreach ($mailbox in @(Get-PostroomMailbox $entry)) {
            # SMTP AUTH must be on for OAuth, too; the mailbox's setting overrides the organisation's.
            Set-CASMailbox -Identity $mailbox -SmtpClientAuthenticationDisabled $false
            # Otherwise copies in Sent Items fill the mailbox until all sending stops (554 5.2.2).
            Set-Mailbox -Identity $mailbox -MessageCopyForSMTPClientSubmissionEnabled $false
        }
    }
    Invoke-PostroomGrant {
        param($from, $mailbox)
        Add-RecipientPermission -Identity $from -Trustee $mailbox -AccessRights SendAs -Confirm:$false
    }
}

function Undo-PostroomMailboxes {
    Invoke-PostroomGrant {
        param($from, $mailbox)
        Remove-RecipientPermission -Identity $from -Trustee $mailbox -AccessRights SendAs -Confirm:$false
    }
    foreach ($entry in $mailboxes) {
        foreach ($mailbox in @(Get-PostroomMailbox $entry)) {
            # $null: the organisation's setting holds again.
            Set-CASMailbox -Identity $mailbox -SmtpClientAuthenticationDisabled $null
            Set-Mailbox -Identity $mailbox -MessageCopyForSMTPClientSubmissionEnabled $true
        }
    }
}
"""


def _app(estate: Estate) -> str:
    hint = "" if estate.client_id else "  # the configuration names no app: write its Application (client) ID here"
    return f"""
$appId = {quoted(estate.client_id or CLIENT_ID)}{hint}
$name = {quoted("postroom-" + estate.connection)}

# The object ID of the ENTERPRISE application; the one under App registrations is another and does not work.
function Get-PostroomObjectId {{
    $found = Get-MgServicePrincipal -Filter "appId eq '$appId'"
    if (-not $found) {{ throw "No enterprise application $appId in this directory: az ad sp create --id $appId" }}
    return $found.Id
}}

# Make the app known to Exchange, once.
function Register-PostroomApp {{
    if (-not (Get-ServicePrincipal | Where-Object {{ $_.AppId -eq $appId }})) {{
        New-ServicePrincipal -AppId $appId -ObjectId (Get-PostroomObjectId) -DisplayName $name
    }}
}}
"""


_APP_RBAC: Final = r"""
# ---- App RBAC (advised). The app must NOT have the API permission SMTP.SendAsApp.

function Enable-PostroomAppRbac {
    $ErrorActionPreference = 'Stop'
    Register-PostroomApp
    if (-not (Get-DistributionGroup -Identity $name -ErrorAction SilentlyContinue)) {
        New-DistributionGroup -Name $name -Type Security
    }
    $members = @(Get-DistributionGroupMember -Identity $name -ResultSize Unlimited |
        ForEach-Object { [string] $_.PrimarySmtpAddress })
    foreach ($entry in $mailboxes) {
        foreach ($mailbox in @(Get-PostroomMailbox $entry)) {
            if ($members -notcontains $mailbox) {
                Add-DistributionGroupMember -Identity $name -Member $mailbox
            }
        }
    }
    if (-not (Get-ManagementScope -Identity $name -ErrorAction SilentlyContinue)) {
        # In a filter a single quote is doubled.
        $group = (Get-DistributionGroup -Identity $name).DistinguishedName.Replace("'", "''")
        New-ManagementScope -Name $name -RecipientRestrictionFilter "MemberOfGroup -eq '$group'"
    }
    if (-not (Get-ManagementRoleAssignment -Identity $name -ErrorAction SilentlyContinue)) {
        $role = 'Application SMTP.SendAsApp'
        New-ManagementRoleAssignment -Name $name -Role $role -App $appId -CustomResourceScope $name
    }
    Test-PostroomAppRbac
}

function Test-PostroomAppRbac {
    foreach ($entry in $mailboxes) {
        foreach ($mailbox in @(Get-PostroomMailbox $entry)) {
            Test-ServicePrincipalAuthorization -Identity $appId -Resource $mailbox | Format-Table
        }
    }
}

function Disable-PostroomAppRbac {
    Remove-ManagementRoleAssignment -Identity $name -Confirm:$false
    Remove-ManagementScope -Identity $name -Confirm:$false
    Remove-DistributionGroup -Identity $name -Confirm:$false
    # Asks first: the app may serve something else as well.
    Remove-ServicePrincipal -Identity $appId
}
"""

_CLASSIC: Final = r"""
# ---- The classic way, instead of App RBAC. First, in Entra, App registrations, API permissions:
# APIs my organization uses > Office 365 Exchange Online > Application permissions > SMTP.SendAsApp;
# then Grant admin consent.

function Enable-PostroomClassic {
    $ErrorActionPreference = 'Stop'
    Register-PostroomApp
    $objectId = Get-PostroomObjectId
    foreach ($entry in $mailboxes) {
        foreach ($mailbox in @(Get-PostroomMailbox $entry)) {
            Add-MailboxPermission -Identity $mailbox -User $objectId -AccessRights FullAccess
        }
    }
    Invoke-PostroomGrant {
        param($from)
        Add-RecipientPermission -Identity $from -Trustee $objectId -AccessRights SendAs -Confirm:$false
    }
}

function Disable-PostroomClassic {
    $objectId = Get-PostroomObjectId
    Invoke-PostroomGrant {
        param($from)
        Remove-RecipientPermission -Identity $from -Trustee $objectId -AccessRights SendAs -Confirm:$false
    }
    foreach ($entry in $mailboxes) {
        foreach ($mailbox in @(Get-PostroomMailbox $entry)) {
            Remove-MailboxPermission -Identity $mailbox -User $objectId -AccessRights FullAccess -Confirm:$false
        }
    }
    # Asks first: the app may serve something else as well. Then take the permission and the consent away in Entra.
    Remove-ServicePrincipal -Identity $appId
}
"""
