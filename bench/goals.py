"""The goals: what is asked of each reading, and how rounds become one value. Pure.

A goal is better met by more or by less, as it says; the limit is the line at which a change must not be merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Readings = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked of the reading ``name``: at most ``value``, or at least.

    ``is_promise``: the worst round counts, not the median. ``excuse`` names a reading that, where it is above zero in
    every round, meets the goal too.
    """

    name: str
    value: float
    is_least: bool = False
    limit: float | None = None
    is_promise: bool = False
    excuse: str | None = None

    @property
    def text(self) -> str:
        """The goal as it is written."""
        return f"{'≥' if self.is_least else '≤'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A goal with what was measured."""

    goal: Goal
    value: float
    low: float
    high: float
    met: bool

    @property
    def score(self) -> float:
        """How well the goal is met: 1 just so, 2 twice as well."""
        if self.goal.value == 0 or self.value == 0:
            return 2.0 if self.met else 0.25
        ratio = self.value / self.goal.value
        return ratio if self.goal.is_least else 1 / ratio


GOALS = (
    Goal("accepts/s ÷ bare", 0.75, is_least=True, limit=0.6),
    Goal("accept p50 at 1 client ÷ bare", 3.5),
    Goal("accept p99 at 32 clients ÷ bare", 2.0),
    Goal("delivered/s ÷ nodemailer", 0.5, is_least=True),
    Goal("delivered/s ÷ naive", 2.0, is_least=True),
    Goal("delivered/s at RTT 20 ms ÷ (3 / RTT)", 0.45, is_least=True),
    Goal("delivered/s at RTT 80 ms, dot 300 ms late ÷ (3 / (RTT + 0.3 s))", 0.80, is_least=True),
    Goal("round trips a message, lone", 2.0),
    Goal("round trips a message, in a queue", 2.0),
    Goal("new sessions for the messages", 3.0, is_promise=True),
    Goal("CPU a message ÷ naive", 0.45),
    Goal("POST to 250, p50 ÷ naive", 0.8),
    Goal("POST to 250, p99 ÷ naive", 1.2),
    Goal("peak memory of one ÷ attachment", 3.5, limit=4.0),
    Goal("peak memory of four at once, MB", 300.0, excuse="four at once, refused with 503"),
    Goal("slowest small mail beside a large one, ms", 100.0),
    Goal("accepts/s with the queue ÷ without", 0.7, is_least=True),
    Goal("delivered/s with the queue ÷ without", 0.7, is_least=True),
    Goal("80 at once: refusals", 0.0, is_promise=True),
    Goal("80 at once: sent after 55 s", 28.0, is_least=True, is_promise=True),
    Goal("80 at once: sent after 115 s", 58.0, is_least=True, is_promise=True),
    Goal("80 at once: all after, s", 125.0, is_promise=True),
    Goal("kill -9 after 20 s: refusals", 0.0, is_promise=True),
    Goal("kill -9 after 20 s: lost", 0.0, is_promise=True),
    Goal("list ÷ few rows, worst filter", 4.0),
    Goal("get ÷ few rows", 4.0),
    Goal("start with the queue, s", 3.0),
)


def measures(readings: Readings) -> list[Measure]:
    """Return what can be said of each goal whose reading is there."""
    return [_measure(goal, readings) for goal in GOALS if goal.name in readings]


def _measure(goal: Goal, readings: Readings) -> Measure:
    rounds = readings[goal.name]
    low, high = min(rounds), max(rounds)
    value = (low if goal.is_least else high) if goal.is_promise else median(rounds)
    # Two decimals: a mean of 2.001 round trips is two.
    met = round(value, 2) >= goal.value if goal.is_least else round(value, 2) <= goal.value
    excused = goal.excuse is not None and min(readings[goal.excuse]) > 0
    return Measure(goal, value, low, high, met or excused)
