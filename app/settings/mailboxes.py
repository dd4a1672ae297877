"""Who may send as whom: mailboxes and what Exchange granted to them, tenants and their keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from app.mail.message import OnUnknown, Priority
from app.settings.connections import LimitsTable
from app.settings.table import Table
from app.settings.values import Count, File, Form, Instant, Network, Pattern, Secret, Share, Text, misfit
from app.web.keys import DEFAULT_SCOPES, HASH_PATTERN, ID_PATTERN, KeyEntry

Class = Literal["urgent", "normal", "bulk"]
Scope = Literal["messages:send", "messages:read", "messages:content", "messages:cancel", "hooks:send"]


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise misfit("names one thing twice", "name each once")
    return values


class SoftStop(Table):
    """Shares of the daily recipients at which a class stops; urgent mail may use all."""

    bulk: Share = Field(default=0.90, description="Share of the daily recipients that bulk mail may use.")
    normal: Share = Field(default=0.95, description="Share of the daily recipients that normal mail may use.")

    @property
    def by_priority(self) -> dict[Priority, float]:
        """The shares as delivery knows them."""
        return {Priority.BULK: self.bulk, Priority.NORMAL: self.normal}


class Mailbox(Table):
    """An account to sign in as."""

    address: Pattern = Field(
        description='Address of the mailbox; "*@contoso.com" signs in as each From address of the domain itself.'
    )
    connection: str = Field(description="Name of the connection it uses.")
    send_as: tuple[Pattern, ...] = Field(
        default=(), description="Addresses and patterns that Exchange lets it send as."
    )
    limits: LimitsTable = Field(default_factory=LimitsTable, description="Limits of this mailbox.")
    soft_stop: SoftStop = Field(
        default_factory=SoftStop, description="Where bulk and normal mail stop in the daily recipients."
    )
    username: Text | None = Field(
        default=None, description="User name for signing in. Default: the connection's, else the address."
    )
    password: Secret | None = Field(default=None, description="Password; overrides the connection's.")
    password_file: File | None = Field(default=None, description="File that holds the password.")


class Key(Table):
    """What is kept of an API key; `postroom keys new` prints it."""

    id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$"), Form("text")] = Field(
        description="Id of the key: 12 letters and digits, as printed by postroom keys new."
    )
    hash: Annotated[str, Field(pattern=f"^{HASH_PATTERN}$"), Form("text")] = Field(
        description="SHA-256 of the key, as printed by postroom keys new."
    )
    scopes: Annotated[tuple[Scope, ...], AfterValidator(_distinct)] | None = Field(
        default=None,
        min_length=1,
        description="What the key may do. Default: messages:send, messages:read, messages:cancel.",
    )
    expires_at: Instant | None = Field(default=None, description="When the key stops working. Default: never.")
    networks: tuple[Network, ...] = Field(default=(), description="Networks it may be used from. Default: any.")

    @property
    def entry(self) -> KeyEntry:
        """The key as the doors know it."""
        scopes = DEFAULT_SCOPES if self.scopes is None else frozenset[str](self.scopes)
        return KeyEntry(self.id, self.hash, scopes, self.expires_at, self.networks)


class TenantLimits(Table):
    """Limits of a tenant, counted when a message is accepted; 0 means none."""

    messages_per_minute: Count = Field(default=0, description="Messages in any 60 seconds; 0: no limit.")
    recipients_per_day: Count = Field(default=0, description="Recipients in any 24 hours; 0: no limit.")


class Tenant(Table):
    """An internal app or team."""

    keys: tuple[Key, ...] = Field(
        default=(), description="API keys, as printed by postroom keys new; several for rotation."
    )
    senders: tuple[Pattern, ...] = Field(default=(), description="Addresses and patterns it may use as From.")
    recipients: tuple[Pattern, ...] = Field(
        default=(), description="Addresses and patterns it may send to. Default: everybody."
    )
    on_unknown: Literal["resend", "hold"] = Field(
        default="resend",
        description="When a hand-over had no reply: resend (at most once more) or hold (a person decides).",
    )
    share: Annotated[Count, Field(ge=1, le=1000)] = Field(default=1, description="Weight under a mailbox's budget.")
    priorities: Annotated[tuple[Class, ...], AfterValidator(_distinct)] = Field(
        default=("normal", "bulk"), min_length=1, description="Classes it may use; urgent must be granted."
    )
    limits: TenantLimits = Field(default_factory=TenantLimits, description="Limits of this tenant.")
    allowed_networks: tuple[Network, ...] = Field(
        default=(), description="Networks its keys may be used from. Default: any."
    )

    @property
    def granted(self) -> frozenset[Priority]:
        """The classes as mail knows them."""
        return frozenset(Priority[word.upper()] for word in self.priorities)

    @property
    def policy(self) -> OnUnknown:
        """``on_unknown`` as mail knows it."""
        return OnUnknown(self.on_unknown)
