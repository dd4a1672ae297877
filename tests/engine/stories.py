"""Stories of one message: what goes wrong, what then stands in its rows, and what the remote saw.

A story's name is a sentence. What is not said in a story is the good end: one recipient, one attempt, one copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.emulator import Fault
from tests.engine.stage import ADA, Stage, Try, on_stage


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt as it must stand in its row; ``marked`` None: either way (the mark of a small message may have been
    committed during the flight in which the envelope was refused).
    """

    outcome: str
    charged: int = 0
    counted: bool = True
    marked: bool | None = None
    reply: str | None = None
    trouble: str | None = None  # words that stand in it

    def fits(self, found: Try) -> bool:
        return (
            (self.outcome, self.charged, self.counted, self.reply)
            == (found.outcome, found.charged, found.counted, found.reply)
            and (self.marked is None or self.marked is found.marked)
            and (self.trouble is None) is (found.trouble is None)
            and (self.trouble is None or self.trouble in (found.trouble or ""))
        )


def sent(charged: int = 1) -> Row:
    return Row("sent", charged, marked=True, reply="250 2.0.0")


def cut(trouble: str | None, *, marked: bool | None = None, reply: str | None = None) -> Row:
    """Proven not taken: no try of the message, nothing charged."""
    return Row("aborted", counted=False, marked=marked, reply=reply, trouble=trouble)


def unknown(trouble: str, charged: int = 1) -> Row:
    return Row("unknown", charged, marked=True, trouble=trouble)


def deferred(reply: str, marked: bool | None = None) -> Row:
    return Row("deferred", reply=reply, marked=marked)


def rejected(reply: str, marked: bool | None = None) -> Row:
    return Row("rejected", reply=reply, marked=marked)


def fault(phase: str | None = None, *, times: int | None = 1, **more: Any) -> dict[str, Any]:
    """What a fault is made of; without ``times`` it strikes once."""
    return {"phase": phase, "times": times, **more}


# More than two kernels hold in their buffers: the end of it cannot be under way when its middle is cut.
LARGE = 12_000_000
TEXT = "451 4.7.0 Later"
NO_SUCH = "550 5.4.1 Recipient address rejected: Access denied"
INVALID = "501 5.1.7 Invalid address"
QUOTA = "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"

ONCE = ("accepted", "attempted", "sent")
TWICE = ("accepted", "attempted", "deferred", "attempted", "sent")


@dataclass(frozen=True, slots=True)
class Story:
    """What goes wrong, and what then must be so."""

    name: str
    faults: tuple[dict[str, Any], ...]
    to: tuple[str, ...] = (ADA,)
    octets: int = 0
    smtputf8: bool = False
    policy: str = "resend"
    pipelining: bool = True
    stall: float = 0.0  # seconds that pass once a fault has struck: the time-out of that phase
    work: str = "done"
    results: dict[str, str] = field(default_factory=lambda: {"ada": "sent 250 2.0.0"})
    rows: tuple[Row, ...] = (sent(),)
    events: tuple[str, ...] = ONCE
    copies: tuple[tuple[str, ...], ...] = (("ada",),)
    dots: int = 1
    sessions: int = 1
    failures: dict[str, float] = field(default_factory=dict)
    heard: str | None = None  # a line that the remote must have heard
    unheard: str | None = None  # words that it must not have heard

    def __str__(self) -> str:
        return self.name


async def tell(story: Story, folder: Path) -> None:
    """Play a story and hold it against what was promised."""
    faults = [Fault(**each) for each in story.faults]
    connection = "" if story.pipelining else "pipelining = false"
    async with on_stage(folder, *faults, on_unknown=story.policy, connection=connection) as stage:
        message = await stage.post(*story.to, octets=story.octets, smtputf8=story.smtputf8)
        work = await stage.play(message, stall=story.stall)
        found = stage.tries(message)
        seen = {
            "work": work,
            "results": stage.results(message),
            "attempts": [each.outcome for each in found],
            "events": tuple(stage.events(message)),
            "copies": tuple(stage.copies),
            "dots": stage.dots,
            "sessions": stage.sessions,
            "failures": stage.failures(),
        }
        assert seen == {
            "work": story.work,
            "results": story.results,
            "attempts": [each.outcome for each in story.rows],
            "events": story.events,
            "copies": story.copies,
            "dots": story.dots,
            "sessions": story.sessions,
            "failures": story.failures,
        }
        for row, row_found in zip(story.rows, found, strict=True):
            assert row.fits(row_found), (row, row_found)
        said = stage.said()
        if story.heard is not None:
            assert story.heard in said
        if story.unheard is not None:
            assert not [line for line in said if story.unheard in line]
        check_always(stage)


def check_always(stage: Stage) -> None:
    """What must be so whatever went wrong."""
    messages = stage.emulator.messages
    assert all(message.tls is not None for message in messages)
    assert stage.emulator.counters.plaintext_credential_octets == 0
    # A copy is byte for byte the same as every other: same Message-ID, same Date, the dot un-stuffed.
    by_id: dict[str | None, set[bytes]] = {}
    for message in messages:
        if message.rcpt_tos:
            by_id.setdefault(message.message_id, set()).add(message.raw)
            assert b"\r\n.dot\r\n" in message.raw[:300]
    assert all(len(each) == 1 for each in by_id.values())
    # Nobody is sent a dot without a mark on disk, and no place in the ledger is left running.
    marked = stage.rows("SELECT count(*) FROM attempts WHERE marked_at IS NOT NULL")[0][0]
    assert sum(bool(message.rcpt_tos) for message in messages) <= marked
    assert not stage.rows("SELECT 1 FROM attempts WHERE ended_at IS NULL")
    assert stage.desk.workers == 0
