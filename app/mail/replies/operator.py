"""Reads the rows that an operator adds to the catalogue (``[[replies]]``); all faults are told together, by place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from app.mail.reply import Phase
from app.mail.rule import Effect, Outcome, Row, Scope

_FIELDS: Final = frozenset({"phase", "code", "enhanced", "text", "outcome", "scope", "wait", "cause", "cure"})
_OUTCOMES: Final = (Outcome.DEFERRED, Outcome.REJECTED, Outcome.KEPT)
_ENHANCED: Final = re.compile(r"[45]\.(?:\d{1,3}|\*)\.(?:[\d?]{1,3}|\*)")  # RFC 3463 §2, with ? and *
_DURATION: Final = re.compile(r"(\d{1,7})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NO_MESSAGE: Final = frozenset({Phase.CONNECT, Phase.STARTTLS, Phase.AUTH})

# Who waits when a message is kept: somebody must, or it would be tried again at once, for ever.
_KEPT_EFFECTS: Final = {
    Scope.MAILBOX: Effect.PARK,
    Scope.CONNECTION: Effect.PARK,
    Scope.SESSION: Effect.RECONNECT,
}


class RowFaults(ValueError):
    """Rows that cannot be used; ``faults`` holds a line for each fault (``replies[0].text: …``)."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def operator_rows(tables: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Return the rows to put before the catalogue; raises ``RowFaults``.

    Each table says by ``phase`` (a word or several), ``code`` (three digits, or ``"4xx"``/``"5xx"``), ``enhanced`` and
    ``text`` (a regular expression, without regard to case) which replies it is about, at least one of the last three;
    by ``outcome`` (deferred, rejected, kept) and ``scope`` what they mean; ``wait`` is seconds or ``"10m"``. The effect
    follows: kept parks the mailbox, or each of the connection (for ``wait`` where it is given), or ends the session;
    rejected with scope sender counts against the sender as a Send-As refusal does. None stands for an absent field.
    """
    faults: list[str] = []
    rows = [_Reader(table, f"replies[{number}]", faults).row() for number, table in enumerate(tables)]
    if faults:
        raise RowFaults(faults)
    return tuple(rows)


class _Reader:
    """Reads one table; a fault is noted and reading goes on with a stand-in."""

    def __init__(self, table: Mapping[str, Any], place: str, faults: list[str]) -> None:
        self._table = {name: value for name, value in table.items() if value is not None}
        self._place = place
        self._faults = faults

    def row(self) -> Row:
        for name in sorted(self._table.keys() - _FIELDS):
            self._fault(name, f"is not known; known are {', '.join(sorted(_FIELDS))}")
        if not self._table.keys() & {"code", "enhanced", "text"}:
            self._fault("", "needs code, enhanced or text, or it would be about every reply")
        phases = self._phases()
        outcome = self._outcome()
        scope = self._scope(outcome, phases)
        if phases and phases <= _NO_MESSAGE and outcome is not Outcome.KEPT:
            self._fault("outcome", "must be kept: in this phase there is no message to defer or reject")
        effect = _KEPT_EFFECTS.get(scope, Effect.NONE) if outcome is Outcome.KEPT else Effect.NONE
        family = None
        if outcome is Outcome.REJECTED and scope is Scope.SENDER:
            effect, family = Effect.STRIKE, "send-as"
        return Row(
            phases=phases,
            code=self._code(),
            enhanced=self._enhanced(),
            text=self._text(),
            outcome=outcome,
            scope=scope,
            effect=effect,
            wait=self._wait(),
            family=family,
            cause=self._words("cause"),
            cure=self._words("cure"),
        )

    def _fault(self, name: str, problem: str) -> None:
        self._faults.append(f"{self._place}{'.' if name else ''}{name}: {problem}")

    def _phases(self) -> frozenset[Phase]:
        value = self._table.get("phase", ())
        words = [value] if isinstance(value, str) else value
        known = {phase.value: phase for phase in Phase}
        if isinstance(words, list | tuple) and all(isinstance(word, str) and word in known for word in words):
            return frozenset(known[word] for word in words)
        self._fault("phase", f"must be one or several of {', '.join(known)}")
        return frozenset()

    def _code(self) -> int | None:
        value = self._table.get("code")
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599):
            return value
        if value in ("4xx", "5xx"):
            return int(value[0])
        self._fault("code", "must be from 400 to 599, or 4xx or 5xx; a positive reply is never judged otherwise")
        return None

    def _enhanced(self) -> tuple[str, ...]:
        value = self._table.get("enhanced")
        if value is None:
            return ()
        words = tuple(value.split()) if isinstance(value, str) else ()
        if not words or not all(_ENHANCED.fullmatch(word) for word in words):
            self._fault("enhanced", 'must be an enhanced status code such as "5.7.60", or "5.7.*"')
        return words

    def _text(self) -> re.Pattern[str] | None:
        value = self._words("text")
        if value is None:
            return None
        try:
            pattern = re.compile(value, re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as problem:
            self._fault("text", f"is no regular expression: {problem}")
            return None
        if pattern.search("") is not None:
            self._fault("text", "fits the empty text, and so every reply")
        return pattern

    def _outcome(self) -> Outcome:
        value = self._table.get("outcome")
        for outcome in _OUTCOMES:
            if value == outcome.value:
                return outcome
        self._fault("outcome", "must be deferred, rejected or kept")
        return Outcome.DEFERRED

    def _scope(self, outcome: Outcome, phases: frozenset[Phase]) -> Scope:
        value = self._table.get("scope")
        if value is None:
            if outcome is Outcome.KEPT:
                return Scope.MAILBOX
            return Scope.RECIPIENT if phases == {Phase.RCPT} else Scope.MESSAGE
        found = {scope.value: scope for scope in Scope}.get(value) if isinstance(value, str) else None
        if found is None:
            self._fault("scope", f"must be one of {', '.join(Scope)}")
            return Scope.MESSAGE
        if outcome is Outcome.KEPT and found not in _KEPT_EFFECTS:
            self._fault("scope", "must be mailbox, connection or session where the outcome is kept: one of them waits")
        return found

    def _wait(self) -> float | None:
        value = self._table.get("wait")
        if value is None:
            return None
        seconds = -1.0
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
        elif isinstance(value, int | float) and not isinstance(value, bool):
            seconds = float(value)
        elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
            seconds = float(int(match[1]) * _UNITS[match[2]])
        if not 0 < seconds <= 30 * 86400:
            self._fault("wait", 'must be a duration such as "10m", at most 30 days')
            return None
        return seconds

    def _words(self, name: str) -> str | None:
        value = self._table.get(name)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self._fault(name, "must be a text that is not empty")
        return None
