"""A plain model of the store's contract: lists and dictionaries, no SQL, no threads, no disk.

It says what each call must answer and what every message must look like afterwards. Written from the contract
(app/queue/contract.py) and the design, not from the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from app.mail.message import AttemptOutcome, Result, Work

P, S, R, U, C, E = (
    Result.PENDING,
    Result.SENT,
    Result.REJECTED,
    Result.UNKNOWN,
    Result.CANCELED,
    Result.EXPIRED,
)
WAITING = (Work.QUEUED, Work.DEFERRED)


@dataclass
class Try:
    """One attempt; ``carried`` are the places of its recipients."""

    number: int
    message: Message
    carried: list[int]
    is_marked: bool = False
    outcome: AttemptOutcome | None = None


@dataclass
class Message:
    """One message; ``order`` is its place among all."""

    id: str
    order: int
    results: list[Result]
    expires: datetime
    due: datetime | None
    appointed: datetime  # the time to go that was named, or the instant of acceptance
    work: Work
    tries: int = 0
    unknowns: int = 0
    holds: bool = False
    has_content: bool = True
    claim: Try | None = None
    attempts: list[Try] = field(default_factory=list)
    kept: tuple[Work, datetime] | None = None  # where it waited when an operator held it
    by: dict[int, Try] = field(default_factory=dict)  # which attempt gave a recipient its result

    def has(self, result: Result) -> bool:
        return result in self.results

    def rest(self, work: Work, due: datetime | None = None) -> None:
        """Go where one goes next; a claim ends unless the message goes on sending."""
        self.work = work
        self.due = due if work in WAITING else None
        if work is not Work.SENDING:
            self.claim = None
        if work is not Work.HELD or not self.has(P):
            self.kept = None

    def holds_itself(self) -> bool:
        """Whether it is held, and not by an operator."""
        return self.work is Work.HELD and self.kept is None

    def come_to_rest(self) -> None:
        """Nothing is pending any more: done, but for an unknown that waits for a person."""
        self.holds = self.has(U) and (self.holds or self.holds_itself())
        self.rest(Work.HELD if self.holds else Work.DONE)

    def turn(self, old: tuple[Result, ...], new: Result) -> bool:
        """Turn results into another; whether there were any."""
        found = [no for no, result in enumerate(self.results) if result in old]
        for no in found:
            self.results[no] = new
        return bool(found)


class StoreModel:
    """See the module's promise. One lane."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.tries: dict[int, Try] = {}
        self.keys: dict[str, bytes] = {}

    def accept(self, id_: str, results: list[Result], due: datetime, expires: datetime) -> bool:
        """Whether the message waits."""
        waits = P in results
        work = Work.QUEUED if waits else Work.DONE
        order = len(self.messages)
        self.messages[id_] = Message(id_, order, list(results), expires, due if waits else None, due, work)
        return waits

    def waiting(self) -> list[Message]:
        """What waits, in the order of its turns."""
        found = [each for each in self.messages.values() if each.due is not None]
        return sorted(found, key=lambda each: (each.due, each.order))

    def pick(self, now: datetime, count: int) -> tuple[list[Message], datetime | None]:
        """The messages that a pick must claim, and when the next is due."""
        alive = [each for each in self.waiting() if each.expires > now]
        due = [each for each in alive if each.due is not None and each.due <= now][:count]
        left = [each for each in alive if each not in due]
        return due, left[0].due if left else None

    def claimed(self, message: Message, attempt: int) -> Try:
        carried = [no for no, result in enumerate(message.results) if result is P]
        made = Try(len(message.attempts) + 1, message, carried)
        message.attempts.append(made)
        message.rest(Work.SENDING)
        message.claim = made
        self.tries[attempt] = made
        return made

    def mark(self, attempt: Try, now: datetime) -> bool:
        message = attempt.message
        may = attempt.outcome is None and not attempt.is_marked and message.claim is attempt and message.expires > now
        attempt.is_marked = attempt.is_marked or may
        return may

    def settle(
        self,
        attempt: Try,
        outcome: AttemptOutcome,
        stated: dict[int, Result],
        next_work: Work,
        due: datetime,
        *,
        counted: bool,
        hold: bool,
        resend: bool,
    ) -> None:
        message = attempt.message
        if attempt.outcome not in (None, AttemptOutcome.UNKNOWN):
            return
        is_first = attempt.outcome is None
        attempt.outcome = outcome
        later = message.attempts[attempt.number :]
        had_unknown = message.has(U)
        if not any(each.is_marked for each in later):
            for no, result in stated.items():
                mine = message.results[no] is U and message.by.get(no) is attempt
                if (message.results[no] is P or mine) and (result is not P or message.has_content):
                    message.results[no] = result
                    message.by[no] = attempt
        if is_first:
            message.tries += counted
            message.unknowns += resend
        self._go_on(message, attempt, next_work, due, hold=hold, had_unknown=had_unknown)

    def _go_on(
        self, message: Message, attempt: Try, next_work: Work, due: datetime, *, hold: bool, had_unknown: bool
    ) -> None:
        holds = message.has(U) and message.work is not Work.DONE and (hold or message.holds or message.holds_itself())
        if message.work is Work.SENDING and message.claim is not attempt:
            pass
        elif not message.has(P):
            message.rest(Work.HELD if holds else Work.DONE)
        elif message.work is Work.SENDING:
            message.rest(next_work, due)
        elif message.kept:
            pass
        elif message.work is Work.DONE or (message.work is Work.HELD and had_unknown and not message.has(U)):
            message.rest(Work.QUEUED, due)
        message.holds = holds

    def cancel(self, message: Message) -> bool:
        if message.claim and message.claim.is_marked:
            return False
        changed = message.turn((P,), C)
        if changed:
            message.come_to_rest()
        return changed

    def resolve(self, message: Message, now: datetime, *, sent: bool) -> str | None:
        """The reason why nothing is done, if so."""
        if not message.has(U):
            return "nothing-to-resolve"
        if not sent and not message.has_content:
            return "content-erased"
        message.turn((U,), S if sent else P)
        message.holds = False
        if not message.has(P):
            message.rest(message.work if message.work is Work.SENDING else Work.DONE)
        elif message.work is Work.DONE or message.holds_itself():
            message.rest(Work.QUEUED, now)
        return None

    def reschedule(self, message: Message, at: datetime, expires: datetime, now: datetime) -> bool:
        if message.attempts or message.due is None:
            return False
        message.expires, message.appointed = expires, at
        message.rest(Work.QUEUED, max(at, now))
        return True

    def retry(self, message: Message, now: datetime, expires: datetime) -> str | None:
        """The reason why nothing is done, if so."""
        if not message.has_content:
            return "content-erased"
        if not message.turn((R, E, C), P):
            return "nothing-to-retry"
        start = max(now, message.appointed)
        message.expires = expires + (start - now)
        if message.work is not Work.SENDING and not message.kept:
            message.rest(Work.QUEUED, start)
        return None

    def expire(self, now: datetime) -> list[Message]:
        """The messages that must expire, the longest overdue first."""
        found = [
            each
            for each in self.messages.values()
            if each.has(P) and each.work is not Work.SENDING and each.expires <= now
        ]
        for message in found:
            message.turn((P,), E)
            message.come_to_rest()
        return sorted(found, key=lambda each: each.expires)

    def open(self) -> list[Message]:
        """What is not done."""
        return [each for each in self.messages.values() if each.work is not Work.DONE]

    def hold(self, message: Message) -> bool:
        """An operator holds a message, if it waits."""
        if message.due is None:
            return False
        kept = (message.work, message.due)
        message.rest(Work.HELD)
        message.kept = kept
        return True

    def release(self, message: Message, now: datetime) -> bool:
        """A held message of which something is pending waits again."""
        if message.work is not Work.HELD or not message.has(P):
            return False
        message.rest(*(message.kept or (Work.QUEUED, now)))
        return True

    def erase(self) -> int:
        """Erase the content of everything that is done."""
        found = [each for each in self.messages.values() if each.work is Work.DONE and each.has_content]
        for message in found:
            message.has_content = False
        return len(found)
