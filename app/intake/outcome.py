"""What a submission can come to: accepted, replayed, or refused for a stated reason.

The doors translate these into answers; nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.mail.draft import Attachment
from app.queue.rows import QuotaState


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """What limits a message at present: a bounded ``code``, a sentence, and until when if that is known."""

    code: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a message will probably be handed over (None: a person must act first), and what it waits for."""

    send_at: datetime | None
    waiting_for: WaitingFor | None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What is told of a message at the moment of its acceptance."""

    id: str
    status: str
    created_at: datetime
    forecast: Forecast


# Renders the answer before the commit, so that a replay repeats it to the octet.
Render = Callable[[Acceptance], bytes]


@dataclass(frozen=True, slots=True)
class Submission:
    """How a message comes in beside its draft: who sends it, with which key, and what must not happen twice.

    ``route`` and ``fingerprint`` belong to ``idempotency_key`` (http contract: unique by tenant, route and key).
    """

    tenant: str
    key_id: str
    request_id: str
    is_test: bool = False
    source: str = "api"
    route: str = ""
    idempotency_key: str | None = None
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Accepted (or, with ``is_replay``, accepted before): the answer to give, and the tenant's quotas."""

    id: str
    status: int
    location: str
    body: bytes
    is_replay: bool
    quotas: tuple[QuotaState, ...] = ()


class Upload(Protocol):
    """A submission whose files arrive after its draft, one after the other, never whole in memory.

    Begun by ``Intake.upload(submission, draft, render, dry_run=...)``, which authorises before the first octet is
    taken. The draft's own attachments all have ``content``; files are told by ``file`` in the order of their arrival.
    Ends with exactly one of ``finish`` and ``abort``. Every step raises what ``Intake.submit`` raises.
    """

    async def file(self, attachment: Attachment) -> None:
        """Begin a file; ``attachment`` has no ``content``. It ends where the next begins, or with ``finish``."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Take the next octets (decoded, any number) of the file that was begun last."""
        ...

    async def finish(self, fingerprint: bytes) -> Submitted:
        """Accept the message; ``fingerprint`` covers draft and files and replaces the submission's."""
        ...

    async def abort(self) -> None:
        """Drop what has arrived; nothing is stored. May follow any step that raised."""
        ...


class Refused(Exception):
    """A submission that cannot be accepted. ``code`` is the problem's word, ``pointer`` names the field (``/from``)."""

    def __init__(self, code: str, text: str, pointer: str | None = None, **members: object) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.pointer = pointer
        self.members = members

    def point_at_one(self, alone: Collection[str]) -> None:
        """Point at an address itself where it stands alone and not in a list; ``alone`` are such places (``/to/0``)."""
        if self.pointer is not None and self.pointer in alone:
            self.pointer = self.pointer.removesuffix("/0")


class RefusedByQuota(Exception):
    """A tenant limit has no room."""

    def __init__(self, violated: Sequence[QuotaState], quotas: Sequence[QuotaState]) -> None:
        super().__init__("quota exceeded")
        self.violated = tuple(violated)
        self.quotas = tuple(quotas)
