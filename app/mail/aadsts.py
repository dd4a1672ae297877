"""What Entra's error codes mean for a mail relay: the cause in a sentence, the cure as something to do.

Data and one look-up. Codes and causes follow Microsoft's list of Entra error codes and reports of relay operators; a
code that is not here still gets Microsoft's own page for it. Placeholders: ``CLIENT_ID``, ``DIRECTORY``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.mail.rule import SignInKind

# Refusals by form, passing troubles by meaning: they are tried again like a 5xx. 50196 (a loop was detected) is a
# throttle: only waiting helps.
TRANSIENT: Final = frozenset({50033, 50087, 50196, 70012, 90006, 90012, 90024, 90033, 90055, 90090, 90091})


@dataclass(frozen=True, slots=True)
class Explanation:
    """``cause``: what happened. ``cure``: what to do, with the command where there is one. ``kind``: what about."""

    cause: str
    cure: str
    kind: SignInKind = SignInKind.TOKEN


_RENEW: Final = (
    "Make a new secret (az ad app credential reset --id CLIENT_ID --append), put its Value into client_secret_file "
    "and reload. A certificate ends less often."
)
_UPLOAD: Final = (
    "Upload the certificate's public part under App registrations > Certificates & secrets "
    "(az ad app credential reset --id CLIENT_ID --cert @certificate.pem --append), or point certificate_file to the "
    "one that is registered."
)
_FEDERATED: Final = (
    "Compare the federated credential with the token's iss, sub and aud: "
    "az ad app federated-credential list --id CLIENT_ID. Issuer and subject must match to the letter; the audience is "
    "normally api://AzureADTokenExchange."
)
_NEW_CONSENT: Final = (
    "Sign in again as the user, asking for offline_access, and put the new refresh token into refresh_token_file "
    "(plain; it is encrypted at the first use)."
)
_USER: Final = "An administrator must mend the account in Entra; then sign in again and put in a new refresh token."
_POLICY: Final = (
    "Look up the sign-in in Entra (Monitoring > Sign-in logs, by the correlation id), see which policy blocked it, and "
    "exclude this app or allow this server's address in it."
)
_CLOUD: Final = "Set cloud (worldwide, gcc-high, dod, china) to the one the directory lives in."
_DIRECTORY: Final = "Set directory to the Directory (tenant) ID on the app's overview page."
_SCOPE: Final = (
    "Use the default scope (https://outlook.office365.com/.default in the worldwide cloud); for a refresh token "
    "https://outlook.office.com/SMTP.Send offline_access."
)
_CLIENT_ID: Final = (
    "Check client_id (Application (client) ID of the app registration, not an object id) and directory; "
    "az ad sp show --id CLIENT_ID must find it in that directory."
)
_ENABLE: Final = "Enable it under Enterprise applications > Properties (Enabled for users to sign-in: Yes)."
_CONSENT: Final = "Grant admin consent: az ad app permission admin-consent --id CLIENT_ID."
_FIELDS: Final = "Check that directory, client_id and the credential are filled in."

_ACCOUNT: Final = SignInKind.PASSWORD
_LOCKED: Final = SignInKind.LOCKED
_BY_POLICY: Final = SignInKind.POLICY

_TABLE: Final[dict[int, Explanation]] = {
    # the app's credential
    7000215: Explanation("The client secret is wrong; often the secret's ID was copied instead of its Value.", _RENEW),
    7000222: Explanation("The client secret has expired.", _RENEW),
    70002: Explanation("The client's credential is not the one that is registered.", _RENEW),
    7000218: Explanation(
        "The app is confidential, but no secret and no certificate was sent.",
        "Give the connection a client_secret_file, or allow public client flows under Authentication.",
    ),
    700025: Explanation(
        "The app is a public client, but a secret was sent.",
        "Remove the client secret from the connection, or register the app as confidential.",
    ),
    700027: Explanation(
        "The signature of the certificate assertion was not accepted: the certificate is not registered, or expired.",
        _UPLOAD,
    ),
    700030: Explanation("The certificate's subject name is not authorised for this app.", _UPLOAD),
    50012: Explanation("The certificate or the assertion signed with it was not accepted.", _UPLOAD),
    50013: Explanation("The assertion was not accepted: expired, malformed, or meant for another directory.", _UPLOAD),
    50017: Explanation("The certificate's chain could not be validated.", _UPLOAD),
    700024: Explanation(
        "The assertion is outside its time: this machine's clock is wrong.",
        "Set the clock: timedatectl set-ntp true; timedatectl status.",
    ),
    700021: Explanation("The assertion names another application than client_id.", _CLIENT_ID),
    50048: Explanation("Subject and issuer of the assertion differ.", _CLIENT_ID),
    50027: Explanation("The assertion is no valid signed token.", _UPLOAD),
    70021: Explanation("No federated credential of the app matches the token in token_file.", _FEDERATED),
    700211: Explanation("No federated credential of the app has this token's issuer.", _FEDERATED),
    700212: Explanation("No federated credential of the app has this token's audience.", _FEDERATED),
    700213: Explanation("No federated credential of the app has this token's subject.", _FEDERATED),
    # the app and its directory
    700016: Explanation("The app is not known in this directory.", _CLIENT_ID),
    700011: Explanation("The app is not known in this directory.", _CLIENT_ID),
    70001: Explanation("The app is not known in this directory, or is disabled.", _CLIENT_ID),
    7000229: Explanation(
        "The app has no enterprise application (service principal) in this directory.",
        "Create it: az ad sp create --id CLIENT_ID.",
    ),
    7000112: Explanation("The app is disabled.", _ENABLE),
    90002: Explanation(
        "The directory was not found: the id is wrong, or it lives in another cloud.", f"{_DIRECTORY} {_CLOUD}"
    ),
    900023: Explanation("The directory is neither a directory id nor a domain of one.", _DIRECTORY),
    90038: Explanation("The directory belongs to another Microsoft cloud.", _CLOUD),
    900382: Explanation("The directory belongs to another Microsoft cloud.", _CLOUD),
    900432: Explanation("The directory belongs to another Microsoft cloud.", _CLOUD),
    50194: Explanation("The app belongs to one directory, but a shared one (common) was asked.", _DIRECTORY),
    50059: Explanation("The request does not say to which directory the app belongs.", _DIRECTORY),
    9001023: Explanation("The way of signing in is not offered for the shared directories.", _DIRECTORY),
    # what is asked for
    500011: Explanation("The scope names a resource that this directory does not have.", _SCOPE),
    500014: Explanation(
        "The service behind the scope is disabled in this directory, mostly for want of a licence.", _SCOPE
    ),
    50001: Explanation("The resource behind the scope is disabled or does not exist.", _SCOPE),
    650052: Explanation("The organisation has not subscribed to the service behind the scope.", _SCOPE),
    1002012: Explanation("An app that signs in by itself must ask for a scope that ends in /.default.", _SCOPE),
    70011: Explanation("The scope is not valid.", _SCOPE),
    28002: Explanation("The scope is not valid.", _SCOPE),
    28003: Explanation("The scope is empty.", _SCOPE),
    700022: Explanation("The scope names more than one resource.", _SCOPE),
    700023: Explanation("The scope names no resource.", _SCOPE),
    650057: Explanation("The scope names a resource that is not among the app's permissions.", _SCOPE),
    650056: Explanation("The app has no permission on the resource, or nobody has consented to it.", _CONSENT),
    65001: Explanation(
        "Nobody has consented to this app.",
        "Grant admin consent: az ad app permission admin-consent --id CLIENT_ID (delegated permission SMTP.Send).",
    ),
    65004: Explanation("The user has declined to consent to this app.", _NEW_CONSENT),
    90094: Explanation("An administrator must consent to this app.", _CONSENT),
    50105: Explanation(
        "The user is not assigned to the app.",
        "Assign the user under Enterprise applications > Users and groups, or switch assignment off.",
    ),
    # the refresh token and the user behind it
    70000: Explanation("The refresh token is not valid.", _NEW_CONSENT),
    70008: Explanation("The refresh token has expired or was revoked.", _NEW_CONSENT),
    700082: Explanation("The refresh token was not used for 90 days and has expired.", _NEW_CONSENT),
    700084: Explanation("The refresh token was issued to a single-page app and lives for a day only.", _NEW_CONSENT),
    70043: Explanation("A sign-in frequency policy has ended the refresh token.", _NEW_CONSENT),
    50089: Explanation("The sign-in behind the refresh token has expired.", _NEW_CONSENT),
    50173: Explanation("The user's sign-ins were revoked, mostly by a changed password.", _NEW_CONSENT),
    50132: Explanation("The user's password has changed or expired.", _NEW_CONSENT),
    50133: Explanation("The user's password has changed or expired.", _NEW_CONSENT),
    50076: Explanation("The user must pass multi-factor authentication again.", _NEW_CONSENT),
    50074: Explanation("The user must pass multi-factor authentication.", _NEW_CONSENT),
    50078: Explanation("The user's multi-factor authentication has expired.", _NEW_CONSENT),
    50072: Explanation("The user must register for multi-factor authentication.", _NEW_CONSENT),
    50079: Explanation("The user must register for multi-factor authentication.", _NEW_CONSENT),
    50034: Explanation("The user does not exist in this directory.", _USER),
    50053: Explanation("The user is locked, or the sign-in came from an address known for attacks.", _USER, _LOCKED),
    50055: Explanation("The user's password has expired.", _USER, _ACCOUNT),
    50056: Explanation("The user has no password in this directory.", _USER, _ACCOUNT),
    50057: Explanation("The user is disabled.", _USER),
    50064: Explanation("User name or password is wrong.", _USER, _ACCOUNT),
    50126: Explanation("User name or password is wrong.", _USER, _ACCOUNT),
    50144: Explanation("The user's password in the organisation's own directory has expired.", _USER, _ACCOUNT),
    # policies
    53000: Explanation("A conditional access policy demands a managed device.", _POLICY, _BY_POLICY),
    53001: Explanation("A conditional access policy demands a device of the domain.", _POLICY, _BY_POLICY),
    53002: Explanation("A conditional access policy allows certain apps only.", _POLICY, _BY_POLICY),
    53003: Explanation("A conditional access policy blocked the sign-in.", _POLICY, _BY_POLICY),
    53011: Explanation("The user is blocked because of a risk that Entra sees.", _USER, _BY_POLICY),
    50131: Explanation("A policy blocked the sign-in: device, place or suspicious activity.", _POLICY, _BY_POLICY),
    530032: Explanation("A security policy of the directory blocked the sign-in.", _POLICY, _BY_POLICY),
    530035: Explanation("The security defaults of the directory blocked the sign-in.", _POLICY, _BY_POLICY),
    # what was sent
    90014: Explanation("The request lacked a field.", _FIELDS, SignInKind.CLIENT),
    900144: Explanation("The request lacked a field.", _FIELDS, SignInKind.CLIENT),
    90023: Explanation("The request was not valid.", _FIELDS, SignInKind.CLIENT),
    9002313: Explanation("The request was malformed.", _FIELDS, SignInKind.CLIENT),
    70003: Explanation(
        "The way of signing in is not one that the endpoint knows.",
        "Check authority: it must be Entra's, without the directory.",
        SignInKind.CLIENT,
    ),
}

_WORDS: Final[dict[str, Explanation]] = {
    "credential-unreadable": Explanation(
        "The credential on this machine cannot be used; the text names the file and the fault.",
        "Mend the file and its permissions; the next sign-in reads it anew.",
        SignInKind.CLIENT,
    ),
    "managed-identity": Explanation(
        "The machine has no such managed identity.",
        "Assign the identity to this machine (az vm identity assign, or the app's Identity page) and check client_id.",
    ),
    "invalid_client": Explanation("The token endpoint does not accept the client's credential.", _RENEW),
    "invalid_grant": Explanation("The refresh token or the assertion is not accepted.", _NEW_CONSENT),
    "invalid_scope": Explanation("The scope is not valid.", _SCOPE),
    "unauthorized_client": Explanation("The app may not sign in this way in this directory.", _CLIENT_ID),
}


def explain(code: str) -> Explanation:
    """Return cause and cure of a refusal by its ``code``: an AADSTS code, an OAuth error, or a word of sign-in."""
    number = code.removeprefix("AADSTS")
    if number != code and number.isdigit():
        return _TABLE.get(int(number)) or Explanation(
            "Entra refused to issue a token.",
            f"See https://login.microsoftonline.com/error?code={number} for Microsoft's explanation.",
        )
    return _WORDS.get(code) or Explanation(
        "The token endpoint refused to issue a token.",
        "Check directory, client_id, scope and the credential of this connection.",
    )


def explanations() -> dict[int, Explanation]:
    """Return every known code with its explanation, by number."""
    return dict(sorted(_TABLE.items()))
