# ==== Exchange Online for Postroom, connection contoso ====
#
# This defines functions and changes nothing yet. Connect as an Exchange administrator, run it, then call:
#
#   Initialize-PostroomMailboxes      the mailboxes: SMTP AUTH on, no copies, Send As
#
# A user signs in here (refresh token), so no app gets a right. To take it back:
# Undo-PostroomMailboxes.
# Each may be called again, for instance when a mailbox has come.
#
# Exchange takes 60 to 90 minutes to act on new rights: wait two hours before you judge a 535 5.7.3.

# Install-Module ExchangeOnlineManagement
Connect-ExchangeOnline -ExchangeEnvironmentName O365USGovGCCHigh

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
