# ==== Exchange Online for Postroom, connection contoso ====
#
# This defines functions and changes nothing yet. Connect as an Exchange administrator, run it, then call:
#
#   Initialize-PostroomMailboxes      the mailboxes: SMTP AUTH on, no copies, Send As
#   Enable-PostroomAppRbac            the app, by App RBAC (advised) ...
#   Enable-PostroomClassic            ... or by SMTP.SendAsApp, the classic way: one of the two, not both
#   Test-PostroomAppRbac              App RBAC: the column InScope must say True
#
# To take it back: Disable-PostroomAppRbac, Disable-PostroomClassic, Undo-PostroomMailboxes.
# Each may be called again, for instance when a mailbox has come.
#
# Exchange takes 60 to 90 minutes to act on new rights: wait two hours before you judge a 535 5.7.3.

# Install-Module ExchangeOnlineManagement
Connect-ExchangeOnline
# Install-Module Microsoft.Graph.Applications
Connect-MgGraph -Scopes 'Application.Read.All'

# The mailboxes that Postroom signs in as; *@domain stands for every mailbox of the domain.
$mailboxes = @(
    'noreply@contoso.com'
    'alerts@contoso.com'
)

# What each of them sends as besides itself.
$grants = @(
    @{ Sender = 'billing@contoso.com'; Mailbox = 'noreply@contoso.com' }
    @{ Sender = 'o''neil@contoso.com'; Mailbox = 'noreply@contoso.com' }
    @{ Sender = '*@invoices.contoso.com'; Mailbox = 'noreply@contoso.com' }
)

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

$appId = '11111111-2222-3333-4444-555555555555'
$name = 'postroom-contoso'

# The object ID of the ENTERPRISE application; the one under App registrations is another and does not work.
function Get-PostroomObjectId {
    $found = Get-MgServicePrincipal -Filter "appId eq '$appId'"
    if (-not $found) { throw "No enterprise application $appId in this directory: az ad sp create --id $appId" }
    return $found.Id
}

# Make the app known to Exchange, once.
function Register-PostroomApp {
    if (-not (Get-ServicePrincipal | Where-Object { $_.AppId -eq $appId })) {
        New-ServicePrincipal -AppId $appId -ObjectId (Get-PostroomObjectId) -DisplayName $name
    }
}

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
