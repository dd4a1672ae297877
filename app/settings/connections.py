"""How to reach a server and sign in: connections, their sign-in methods, and the limits that a profile brings along."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, model_validator

from app.mail.senders import Limits
from app.settings.table import Table
from app.settings.values import Count, File, Flag, Host, Instant, Port, Secret, Size, Text, misfit
from app.signin.methods import (
    ClientCertificate,
    ClientSecret,
    FederatedToken,
    ManagedIdentity,
    Method,
    RefreshToken,
    SignIn,
    endpoint_of,
)

Profile = Literal["exchange", "hve", "acs", "plain"]

_MB: Final = 1024 * 1024
# Exchange Online: its published limits. HVE (internal recipients only): no recipient rate. ACS: 100 messages an hour
# for a new subscription, which is one a minute, evenly. Plain: any other server, which says itself what it refuses.
PROFILES: Final[Mapping[Profile, Limits]] = MappingProxyType(
    {
        "exchange": Limits(
            sessions=3,
            messages_per_minute=30,
            recipients_per_day=10_000,
            recipients_per_message=500,
            message_size=35 * _MB,
        ),
        "hve": Limits(sessions=3, recipients_per_message=50, message_size=10 * _MB),
        "acs": Limits(sessions=3, messages_per_minute=1, recipients_per_message=50, message_size=10 * _MB),
        "plain": Limits(sessions=3),
    }
)


class LimitsTable(Table):
    """Limits that override those of the profile; 0 means none."""

    sessions: Annotated[Count, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="Sessions that may be open at once, for each mailbox. At least 1. Default: the profile's.",
    )
    messages_per_minute: Count | None = Field(
        default=None, description="Messages in any 60 seconds, for each mailbox; 0: no limit. Default: the profile's."
    )
    recipients_per_day: Count | None = Field(
        default=None, description="Recipients in any 24 hours, for each mailbox; 0: no limit. Default: the profile's."
    )
    recipients_per_message: Count | None = Field(
        default=None, description="Recipients of one message; 0: no limit. Default: the profile's."
    )
    message_size: Size | None = Field(
        default=None, description="Size of a message on the wire; 0: no limit. Default: the profile's."
    )

    def over(self, limits: Limits) -> Limits:
        """Return ``limits`` with whatever is stated here."""

        def chosen(stated: int | None, default: int) -> int:
            return default if stated is None else stated

        return Limits(
            sessions=chosen(self.sessions, limits.sessions),
            messages_per_minute=chosen(self.messages_per_minute, limits.messages_per_minute),
            recipients_per_day=chosen(self.recipients_per_day, limits.recipients_per_day),
            recipients_per_message=chosen(self.recipients_per_message, limits.recipients_per_message),
            message_size=chosen(self.message_size, limits.message_size),
        )


class PasswordAuth(Table):
    """A user name and a password (an app password): AUTH LOGIN or PLAIN."""

    method: Literal["password"] = Field(description="How to sign in.")
    username: Text | None = Field(default=None, description="User name. Default: the mailbox's address.")
    password: Secret | None = Field(default=None, description="Password. Mailboxes may state their own.")
    password_file: File | None = Field(default=None, description="File that holds the password.")


class TokenAuth(Table):
    """What the methods with access tokens (AUTH XOAUTH2) have in common."""

    cloud: Literal["worldwide", "gcc-high", "dod", "china"] = Field(
        default="worldwide", description="Microsoft cloud, which decides authority and scope."
    )
    authority: Text | None = Field(
        default=None,
        description="Base of the token endpoint, without the directory: {authority}/{directory}/oauth2/v2.0/token. "
        "Default: the cloud's.",
    )
    scope: Text | None = Field(default=None, description="Scope to ask for. Default: the cloud's.")
    ca_file: File | None = Field(default=None, description="Extra trust for the token endpoint, PEM.")

    @property
    @abstractmethod
    def credential(self) -> Method:
        """The credential, as the sign-in room knows it."""

    def sign_in(self) -> SignIn:
        """Return credential and endpoint; raises ``ValueError`` where they make no sense."""
        endpoint = endpoint_of(
            self.credential, self.cloud, authority=self.authority, scope=self.scope, ca_file=self.ca_file
        )
        return SignIn(self.credential, endpoint)

    @model_validator(mode="after")
    def _makes_sense(self) -> TokenAuth:
        try:
            self.sign_in()
        except ValueError as error:
            raise misfit(f"cannot be used: {error}", "mend what the sentence names") from None
        return self


class AppAuth(TokenAuth):
    """A registered app of a directory."""

    directory: Text = Field(description="Directory (tenant) id, or one of its domains.")
    client_id: Text = Field(description="Application (client) id.")


class ClientSecretAuth(AppAuth):
    """An app with a client secret."""

    method: Literal["client-secret"] = Field(description="How to sign in.")
    client_secret: Secret | None = Field(default=None, description="Client secret (its value, not its id).")
    client_secret_file: File | None = Field(default=None, description="File that holds the client secret.")
    secret_expires_at: Instant | None = Field(
        default=None, description="When the secret expires; tells the days left and warns ahead."
    )

    @property
    def credential(self) -> ClientSecret:
        """The credential, as the sign-in room knows it."""
        # That it is stated is checked across the configuration (checks.py), beside every other credential.
        secret = self.client_secret or SecretStr("")
        return ClientSecret(self.directory, self.client_id, secret, self.secret_expires_at)


class ClientCertificateAuth(AppAuth):
    """An app with a certificate."""

    method: Literal["client-certificate"] = Field(description="How to sign in.")
    certificate_file: File = Field(description="Certificate and key in one file, PEM or PFX; read anew for each token.")
    certificate_password: Secret | None = Field(default=None, description="Password of the certificate file.")
    certificate_password_file: File | None = Field(
        default=None, description="File that holds the password of the certificate file."
    )
    algorithm: Literal["PS256", "RS256"] = Field(default="PS256", description="Signature of the assertion.")

    @property
    def credential(self) -> ClientCertificate:
        """The credential, as the sign-in room knows it."""
        return ClientCertificate(
            self.directory, self.client_id, self.certificate_file, self.certificate_password, self.algorithm
        )


class FederatedTokenAuth(AppAuth):
    """An app with a federated credential (workload identity)."""

    method: Literal["federated-token"] = Field(description="How to sign in.")
    token_file: File = Field(description="Token that somebody else keeps fresh; read anew for each request.")

    @property
    def credential(self) -> FederatedToken:
        """The credential, as the sign-in room knows it."""
        return FederatedToken(self.directory, self.client_id, self.token_file)


class RefreshTokenAuth(AppAuth):
    """A user's consent (delegated)."""

    method: Literal["refresh-token"] = Field(description="How to sign in.")
    refresh_token_file: File = Field(
        description="Refresh token: put in plain once, encrypted from the first use on. Must be writable."
    )
    key_file: File | None = Field(
        default=None,
        description="Key that encrypts the refresh token. Default: the refresh token's file with .key behind it.",
    )
    client_secret: Secret | None = Field(default=None, description="Client secret, where the app is confidential.")
    client_secret_file: File | None = Field(default=None, description="File that holds the client secret.")

    @property
    def credential(self) -> RefreshToken:
        """The credential, as the sign-in room knows it."""
        return RefreshToken(self.directory, self.client_id, self.refresh_token_file, self.client_secret, self.key_file)


class ManagedIdentityAuth(TokenAuth):
    """The identity that Azure gives to the machine (extra ``azure``)."""

    method: Literal["managed-identity"] = Field(description="How to sign in.")
    client_id: Text | None = Field(
        default=None, description="Client id of a user-assigned identity. Default: the machine's."
    )

    @property
    def credential(self) -> ManagedIdentity:
        """The credential, as the sign-in room knows it."""
        return ManagedIdentity(self.client_id)


Auth = Annotated[
    PasswordAuth
    | ClientSecretAuth
    | ClientCertificateAuth
    | FederatedTokenAuth
    | RefreshTokenAuth
    | ManagedIdentityAuth,
    Field(discriminator="method"),
]


class Connection(Table):
    """How to reach a server and sign in; shared by mailboxes."""

    host: Host = Field(description="Host name of the submission server, checked against its certificate.")
    port: Port = Field(default=587, description="Port for STARTTLS; 25 and 465 are refused.")
    profile: Profile = Field(
        default="exchange",
        description="Limits and quirks of the server: exchange (3 sessions, 30 messages a minute, 10,000 recipients a "
        "day, 500 recipients and 35 MB a message), hve, acs, or plain (3 sessions, no other limit).",
    )
    ca_file: File | None = Field(default=None, description="Extra trust for the server's certificate, PEM.")
    pipelining: Flag = Field(default=True, description="Send commands in one flight where the server offers it.")
    auth: Auth = Field(description="How to sign in.")
    limits: LimitsTable = Field(default_factory=LimitsTable, description="Limits for each mailbox of this connection.")

    @property
    def profile_limits(self) -> Limits:
        """The limits of the profile with whatever this connection overrides."""
        return self.limits.over(PROFILES[self.profile])
