"""What may keep mail back though it is due and a mailbox is free: a paused tenant, a held sender, an unproven one.

One question with many reasons, so that the choice of a lane and the forecast never disagree. A gate decides from
memory, at once, and for a lane as a whole; it neither waits nor stores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.delivery.desk import Desk


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a (tenant, From) pair may not send now: a bounded ``code``, a sentence, and until when if that is known.

    ``needs_person`` says that no passing of time ends it.
    """

    code: str
    text: str
    until: datetime | None = None
    needs_person: bool = False


class Gate(Protocol):
    """One reason to keep mail back."""

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:
        """Return why mail of a (tenant, From) pair may not go through a mailbox now; None: it may."""
        ...

    def opens_in(self, boot: float) -> float:
        """Return in how many seconds the next stop ends by time alone (inf: none does)."""
        ...


class Gates:
    """All gates; the first that is shut says why."""

    def __init__(self, gates: Iterable[Gate] = ()) -> None:
        self._gates = tuple(gates)

    def stop(self, tenant: str, sender_key: str, desk: Desk, now: datetime, boot: float) -> Stop | None:
        """Return why mail of a (tenant, From) pair may not go through a mailbox now; None: it may."""
        for gate in self._gates:
            found = gate.stop(tenant, sender_key, desk, now, boot)
            if found is not None:
                return found
        return None

    def opens_in(self, boot: float) -> float:
        """Return in how many seconds a stop ends by time alone, so that the engine looks again."""
        return min((gate.opens_in(boot) for gate in self._gates), default=math.inf)
