"""Everything an operator decides, as one model; each setting with its meaning, its default and its limits.

The values come from a file and the environment, put together by ``sources``; pydantic-settings' own source for the
environment is not used, since it passes over unknown names and stops at the first value it cannot read.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.mail.replies import CATALOGUE
from app.mail.replies.operator import operator_rows
from app.mail.reply import Phase
from app.mail.rule import Outcome, Row, Scope
from app.settings.connections import Connection
from app.settings.mailboxes import Key, Mailbox, Tenant
from app.settings.plans import MailboxPlan, plan_mailbox
from app.settings.table import Table
from app.settings.values import (
    Count,
    Duration,
    File,
    Listen,
    ListenAddress,
    MailAddress,
    Name,
    Network,
    PositiveDuration,
    Share,
    Size,
    SqliteUrl,
    Store,
    Text,
    misfit,
)
from app.web.keys import KeyRing

_MB = 1024 * 1024
_LEAST_METADATA = timedelta(hours=48)
_LEAST_BODY = 1024


def _outlives_the_ledger(duration: timedelta) -> timedelta:
    if duration < _LEAST_METADATA:
        raise misfit("is under 48h: the ledger of Exchange's 24-hour window lives in it", 'write "48h" or more')
    return duration


def _holds_a_body(octets: int) -> int:
    if octets < _LEAST_BODY:
        raise misfit("leaves no room for a request", 'write "1KB" or more')
    return octets


def _is_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise misfit("is not a regular expression", f"mend it: {error.msg}") from None
    return text


_BodySize = Annotated[Size, AfterValidator(_holds_a_body)]


class Tls(Table):
    """TLS of the API itself; normally a proxy does it."""

    certificate_file: File = Field(description="Certificate chain, PEM.")
    key_file: File = Field(description="Private key, PEM.")


class Server(Table):
    """The HTTP side."""

    listen: ListenAddress = Field(default=Listen("127.0.0.1", 8080), description="Where the API listens.")
    management_listen: ListenAddress = Field(
        default=Listen("127.0.0.1", 8081), description="Where health, metrics and operators' calls listen."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Networks of proxies whose X-Forwarded-For counts for allowed networks."
    )
    tls: Tls | None = Field(default=None, description="TLS of the API itself. Default: none, a proxy does it.")
    drain_delay: Duration = Field(
        default=timedelta(seconds=5),
        description="After SIGTERM: how long /readyz says 503 while POST still answers 202.",
    )
    drain_timeout: Duration = Field(
        default=timedelta(seconds=30), description="After that: how long running transactions may take to end."
    )
    body_limit: _BodySize = Field(default=40 * _MB, description="Largest request body.")
    body_memory: _BodySize = Field(default=128 * _MB, description="Memory for all request bodies in flight together.")
    body_timeout: PositiveDuration = Field(
        default=timedelta(seconds=60), description="Time in which a body must arrive."
    )
    idempotency_retention: PositiveDuration = Field(
        default=timedelta(hours=24), description="How long an Idempotency-Key is remembered."
    )
    admin_keys: tuple[Key, ...] = Field(
        default=(),
        description="Operators' keys, as printed by postroom keys new --admin. Without one the management listener "
        "shows health and metrics only.",
    )
    redirect_all_to: MailAddress | None = Field(
        default=None,
        description="Staging: send everything to this address instead; the headers tell the original recipients.",
    )


class Log(Table):
    """The log: JSON lines on stdout."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )
    addresses: Literal["masked", "full", "hash"] = Field(
        default="masked", description="How e-mail addresses are shown."
    )


class ContentRetention(Table):
    """How long content is kept after the final result."""

    sent: Duration = Field(default=timedelta(0), description="After every recipient was sent.")
    other: Duration = Field(default=timedelta(days=7), description="After any other end; retry needs it.")


class StoreTable(Table):
    """The store."""

    url: Store = Field(
        default=SqliteUrl(Path("/var/lib/postroom/postroom.db")),
        description="sqlite:////absolute/path.db, sqlite:///path.db (relative to the configuration file), or "
        "postgresql://user:password@host/database.",
    )
    url_file: File | None = Field(default=None, description="File that holds the url, where it carries a password.")
    content_retention: ContentRetention = Field(
        default_factory=ContentRetention, description="How long content is kept."
    )
    metadata_retention: Annotated[Duration, AfterValidator(_outlives_the_ledger)] = Field(
        default=timedelta(days=30), description="How long a done message stays readable; at least 48h."
    )
    queue_limit: Count = Field(
        default=100_000, description="Messages that may wait; beyond it POST answers 503. 0: no limit."
    )
    disk_floor: Size = Field(default=500 * _MB, description="Free disk space below which POST answers 503. 0: none.")


class Timeouts(Table):
    """How long the server may take, by phase."""

    connect: PositiveDuration = Field(
        default=timedelta(seconds=30), description="Connecting, TLS and sign-in, each step."
    )
    command: PositiveDuration = Field(default=timedelta(minutes=5), description="The answer to a command.")
    data: PositiveDuration = Field(default=timedelta(minutes=3), description="Writing a piece of content.")
    final: PositiveDuration = Field(
        default=timedelta(minutes=10),
        description="The answer to the final dot; less than 10m makes unknown outcomes (RFC 5321 §4.5.3.2.6).",
    )


class Delivery(Table):
    """Sending."""

    retry: tuple[PositiveDuration, ...] = Field(
        default=tuple(timedelta(seconds=seconds) for seconds in (30, 120, 300, 900, 1800, 3600)),
        min_length=1,
        description="Waits between tries; the last one repeats.",
    )
    jitter: Share = Field(default=0.2, description="Share by which a wait may be longer or shorter.")
    lifetime: PositiveDuration = Field(
        default=timedelta(hours=72),
        description="How long a message is tried before it expires, unless it says so itself.",
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="How long the server may take, by phase.")
    session_idle: PositiveDuration = Field(
        default=timedelta(minutes=4),
        description="Idle time after which a session is closed; Exchange cuts at 5 minutes.",
    )
    session_age: PositiveDuration = Field(
        default=timedelta(minutes=8),
        description="Age after which a session is replaced; Exchange cuts at about 10 minutes.",
    )


class ReplyRow(Table):
    """A row added to the catalogue of replies, or put before one of its rows."""

    phase: Phase | None = Field(default=None, description="Phase in which the reply comes. Default: any.")
    code: Annotated[Count, Field(ge=200, le=599)] | None = Field(default=None, description="Reply code. Default: any.")
    enhanced: Text | None = Field(default=None, description="Enhanced status code, such as 5.7.60. Default: any.")
    text: Annotated[Text, AfterValidator(_is_expression)] | None = Field(
        default=None, description="Regular expression searched in the words of the reply. Default: any."
    )
    outcome: Outcome = Field(description="What the reply means for the recipients.")
    scope: Scope = Field(description="Whose matter it is.")
    wait: PositiveDuration | None = Field(
        default=None, description="Time until the next try. Default: by the retry schedule."
    )
    cause: Text | None = Field(default=None, description="What happened, told to people.")
    cure: Text | None = Field(default=None, description="What to do, told to people.")


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    server: Server = Field(default_factory=Server, description="The HTTP side.")
    log: Log = Field(default_factory=Log, description="The log: JSON lines on stdout.")
    store: StoreTable = Field(default_factory=StoreTable, description="The store.")
    delivery: Delivery = Field(default_factory=Delivery, description="Sending.")
    connections: dict[Name, Connection] = Field(default={}, description="How to reach a server and sign in, by name.")
    mailboxes: dict[Name, Mailbox] = Field(default={}, description="Accounts to sign in as, by name.")
    tenants: dict[Name, Tenant] = Field(default={}, description="Internal apps and teams, by name.")
    replies: tuple[ReplyRow, ...] = Field(default=(), description="Rows put before those of the catalogue of replies.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the interface of pydantic-settings)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what ``sources`` put together, and nothing else."""
        return (init_settings,)

    def mailbox_plans(self) -> tuple[MailboxPlan, ...]:
        """Return every mailbox with its connection, its credential and its limits resolved."""
        return tuple(
            plan_mailbox(name, mailbox, self.connections[mailbox.connection])
            for name, mailbox in self.mailboxes.items()
        )

    def catalogue(self) -> tuple[Row, ...]:
        """Return the rows by which replies are judged: those of the configuration first. Raises ``RowFaults``."""
        return (*operator_rows([row.model_dump() for row in self.replies]), *CATALOGUE)

    def key_ring(self) -> KeyRing:
        """Return every key of tenants and operators."""
        tenants = [(name, [key.entry for key in tenant.keys]) for name, tenant in self.tenants.items()]
        return KeyRing([(None, [key.entry for key in self.server.admin_keys]), *tenants])
