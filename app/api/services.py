"""What the HTTP doors need from the rest of the house, handed in by whoever builds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from app.api.first_aid import FirstAid
from app.api.senders import Senders
from app.delivery.operators import MailboxView
from app.intake.outcome import Forecast, Render, Submission, Submitted, Upload
from app.kit.clock import Clock
from app.kit.failpoints import Failpoints
from app.kit.metrics import Metrics
from app.mail.address import NamedAddress
from app.mail.draft import Draft
from app.queue.contract import QueueStore
from app.queue.rows import QuotaState
from app.queue.views import MessageView
from app.web.body import BodyLimits
from app.web.keys import KeyRing
from app.web.network import Network
from app.web.state import State


class Intake(Protocol):
    """The way in; ``app.intake`` keeps this promise."""

    async def submit(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Submitted:
        """Take a draft in; on disk when it returns."""
        ...

    async def upload(self, submission: Submission, draft: Draft, render: Render, *, dry_run: bool = False) -> Upload:
        """Authorise a draft whose files are still to come, and begin to take them."""
        ...

    def is_limited(self, tenant: str) -> bool:
        """Whether a tenant has limits."""
        ...

    async def quotas(self, tenant: str) -> Sequence[QuotaState]:
        """Return what is left of a tenant's limits; empty where it has none."""
        ...


class Operators(Protocol):
    """What operators may see and do; raises ``app.delivery.operators.UnknownMailbox``."""

    def mailboxes(self) -> Sequence[MailboxView]:
        """Return every mailbox."""
        ...

    def mailbox(self, name: str) -> MailboxView:
        """Return one mailbox."""
        ...

    async def park(self, name: str, who: str) -> MailboxView:
        """Let a mailbox stand still."""
        ...

    async def resume(self, name: str, who: str) -> MailboxView:
        """Let a mailbox work again."""
        ...


class Examine(Protocol):
    """The doctor's examination of a mailbox; raises ``app.delivery.operators.UnknownMailbox``."""

    async def __call__(self, mailbox: str, *, send_to: NamedAddress | None, force: bool) -> dict[str, Any]:
        """Return the diagnosis as it is told: ``{"checks": [...]}``."""
        ...


def _nobody_limited(_tenant: str) -> Sequence[Network]:
    return ()


@dataclass(frozen=True, slots=True)
class ApiServices:
    """For ``create_api``.

    ``keys`` returns the ring in use (a reload may change it), ``networks`` a tenant's allowed networks, ``forecast``
    the outlook of a stored message. ``changed`` tells delivery of a message that a request has moved; ``finished``
    waits until a message is done or held, at most so many seconds, and says whether it is. ``alive`` is for health
    (``app.web.health``), ``lifetime`` for messages that are rescheduled or retried.
    """

    intake: Intake
    store: QueueStore
    keys: Callable[[], KeyRing]
    clock: Clock
    state: State
    metrics: Metrics
    log: FilteringBoundLogger
    limits: BodyLimits
    lifetime: Callable[[], timedelta]
    forecast: Callable[[MessageView], Forecast]
    changed: Callable[[MessageView], None]
    finished: Callable[[str, float], Awaitable[bool]]
    alive: Callable[[], bool]
    networks: Callable[[str], Sequence[Network]] = _nobody_limited
    trusted_proxies: Sequence[Network] = ()
    failpoints: Failpoints = field(default_factory=Failpoints)
    with_docs: bool = True
    version: str = field(default_factory=lambda: version("postroom"))


@dataclass(frozen=True, slots=True)
class ManagementServices:
    """For ``create_management``; ``refresh`` brings the gauges up to date before a scrape.

    ``forecast`` returns the outlook of a stored message.
    Without ``examine`` there is no doctor's route.
    """

    operators: Operators
    senders: Senders
    first_aid: FirstAid
    forecast: Callable[[MessageView], Forecast]
    probe: Callable[[], Awaitable[str | None]]
    alive: Callable[[], bool]
    refresh: Callable[[], Awaitable[None]]
    keys: Callable[[], KeyRing]
    clock: Clock
    state: State
    metrics: Metrics
    log: FilteringBoundLogger
    trusted_proxies: Sequence[Network] = ()
    examine: Examine | None = None
