"""Ends attempts: what the server said is kept, results are taken where they may be, the message goes where it must.

A reply is a fact of its attempt and is always recorded. Whether a recipient takes the stated result is asked in the
same statement that writes it (late truth): still pending, or unknown by this very attempt, and no later attempt has a
mark. All in one transaction with counts, due time and events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import apsw

from app.mail.message import AttemptOutcome, Result, Work
from app.queue import senders
from app.queue.asking import row
from app.queue.codec import instant, micros, packed, printable
from app.queue.contract import StoreError
from app.queue.moves import BY_ATTEMPT, Next, State, move, results_of, state_of, unmoved
from app.queue.rows import RecipientOutcome, Settled, Settlement
from app.queue.timeline import Event, add_events
from app.queue.writer import Transaction

# End an attempt, or correct one whose end was unknown; whether it counts is said once. It never ends before it began,
# wherever the wall clock went.
END_ATTEMPT: Final = """
UPDATE attempts
SET ended_at = CASE WHEN started_at > ?2 THEN started_at ELSE ?2 END, ended_boot = ?3,
    outcome = ?4, counted = CASE WHEN outcome IS NULL THEN ?5 ELSE counted END, charged = ?6, reply = ?7, trouble = ?8
WHERE id = ?1 AND (outcome IS NULL OR outcome = 'unknown')
"""

_MAY_TAKE: Final = """
(result = 'pending' OR (result = 'unknown' AND attempt = ?3)) AND NOT EXISTS (
    SELECT 1 FROM attempts AS later WHERE later.message = ?1 AND later.id > ?3 AND later.marked_at IS NOT NULL
)
"""

# Take a stated result with its words, where the recipient may.
TAKE_RESULT: Final = f"""
UPDATE recipients SET attempt = ?3, at = ?4, result = ?5, reply = ?6, cause = ?7, cure = ?8
WHERE message = ?1 AND no = ?2 AND {_MAY_TAKE}
RETURNING no
"""  # noqa: S608 - only constants of this file

# A recipient is tried again although this attempt may have reached it.
DOUBT: Final = "UPDATE recipients SET doubt = ?3 WHERE message = ?1 AND no = ?2 AND result = 'pending' AND attempt = ?3"

# A recipient of whom nothing was said is pending (again); its earlier words stay.
STAY_PENDING: Final = f"""
UPDATE recipients SET at = ?4, result = 'pending' WHERE message = ?1 AND no = ?2 AND {_MAY_TAKE}
RETURNING no
"""  # noqa: S608 - only constants of this file


def settle(transaction: Transaction, settlement: Settlement) -> Settled:
    """End an attempt; see ``QueueStore.settle``. Raises ``StoreError`` where there is no such attempt."""
    db = transaction.db
    found = row(db, BY_ATTEMPT, (settlement.attempt,))
    if found is None:
        raise StoreError("storage-unavailable", f"there is no attempt {settlement.attempt} of {settlement.message}")
    number, outcome, *columns = found
    state = state_of(tuple(columns))
    if outcome is not None and outcome != AttemptOutcome.UNKNOWN:
        return Settled(state.work, state.lane, instant(state.due_at), results_of(db, state.seq))
    now = micros(settlement.at)
    words = _Words(settlement)
    _end_attempt(db, settlement, words, now)
    taken = _take_results(db, state, settlement, words, now)
    # Where every recipient has just been written, there is nothing to ask.
    is_all = len(taken) == state.recipients
    results = tuple(each.result for each in taken) if is_all else results_of(db, state.seq)
    goal = destination(state, settlement, results, is_first=outcome is None)
    move(transaction, state, goal, results, now)
    add_events(db, _events(state, settlement, goal, number, taken, words, now))
    if settlement.sender is not None:
        senders.keep(transaction, settlement.sender, now)
    return Settled(goal.work, state.lane, instant(goal.due_at), results)


def destination(state: State, settlement: Settlement, results: Sequence[Result], *, is_first: bool) -> Next:
    """Decide where a message goes after a settlement, given the results its recipients have now.

    ``is_first``: the attempt had no outcome before. A message that another attempt holds, or that was settled
    otherwise meanwhile, moves only as far as the new results demand.
    """
    due = micros(settlement.due_at or settlement.at)
    asked = settlement.hold_unknown or state.hold_unknown or (state.work is Work.HELD and not state.is_kept)
    hold = asked and Result.UNKNOWN in results and state.work is not Work.DONE
    if state.work is Work.SENDING and state.attempt != settlement.attempt:
        goal = unmoved(state)
    elif Result.PENDING not in results:
        goal = Next(Work.HELD if hold else Work.DONE)
    elif state.work is Work.SENDING:
        goal = Next(settlement.next_work, None if settlement.next_work is Work.HELD else due)
    elif state.is_kept:
        goal = unmoved(state)
    elif state.work is Work.DONE or (state.work is Work.HELD and state.unknown and Result.UNKNOWN not in results):
        goal = Next(Work.QUEUED, due)
    else:
        goal = unmoved(state)
    counted = int(is_first and settlement.counted)
    return Next(goal.work, goal.due_at, hold, counted, int(is_first and settlement.resend_unknown))


class _Words:
    """The texts of a settlement as columns hold them: that of the reply, which stands in several rows, made once."""

    def __init__(self, settlement: Settlement) -> None:
        self._reply = settlement.reply
        self.reply = packed(settlement.reply)
        self.trouble = printable(settlement.trouble)

    def of(self, each: RecipientOutcome) -> tuple[str | None, str | None, str | None]:
        """Return reply, cause and cure of a recipient."""
        reply = self.reply if each.reply is self._reply else packed(each.reply)
        return reply, printable(each.cause), printable(each.cure)


def _end_attempt(db: apsw.Connection, settlement: Settlement, words: _Words, now: int) -> None:
    db.execute(
        END_ATTEMPT,
        (
            settlement.attempt,
            now,
            settlement.boot,
            settlement.outcome.value,
            settlement.counted,
            settlement.charged,
            words.reply,
            words.trouble,
        ),
    )


def _take_results(
    db: apsw.Connection, state: State, settlement: Settlement, words: _Words, now: int
) -> list[RecipientOutcome]:
    """Write the stated results; return those that were taken."""
    spoken, silent = [], []
    for each in settlement.recipients:
        key = (state.seq, each.no, settlement.attempt, now)
        if each.result is Result.PENDING and state.body is None:
            continue  # without content nothing can be tried again: it stays as it is
        if each.result is Result.PENDING and each.reply is None and each.cause is None:
            silent.append(key)
        else:
            spoken.append((*key, each.result.value, *words.of(each)))
    taken = {no for (no,) in db.executemany(TAKE_RESULT, spoken)} if spoken else set()
    if silent:
        db.executemany(STAY_PENDING, silent).fetchall()
    doubtful = [(state.seq, each.no, settlement.attempt) for each in settlement.recipients if each.is_doubtful]
    if doubtful:
        db.executemany(DOUBT, doubtful).fetchall()
    return [each for each in settlement.recipients if each.no in taken]


def _events(
    state: State,
    settlement: Settlement,
    goal: Next,
    number: int,
    taken: Sequence[RecipientOutcome],
    words: _Words,
    now: int,
) -> Iterator[Event]:
    is_deferred = goal.work is Work.DEFERRED and state.work is Work.SENDING
    if settlement.counted:
        yield Event(state.seq, "attempted", now, number, None, words.reply, words.trouble)
    told = False
    for each in taken:
        is_pending = each.result is Result.PENDING
        if is_pending and not is_deferred:
            continue
        word = "deferred" if is_pending else each.result.value
        told = told or is_pending
        yield Event(state.seq, word, now, number, each.no, *words.of(each), goal.due_at if is_pending else None)
    if is_deferred and not told:
        yield Event(state.seq, "deferred", now, number, next_attempt_at=goal.due_at)
    if goal.work is Work.HELD and state.work is not Work.HELD:
        yield Event(state.seq, "held", now, number)
