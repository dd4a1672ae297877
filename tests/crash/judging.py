"""Judges a crash test: what was promised in a 202, against what arrived and what the service says of each message.

Pure: letters, arrivals and the service's own words in; faults and a table out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.crash.letters import POLICIES, Letter

# How often a message may arrive under each policy.
_MOST = {"hold": 1, "resend": 2}
# How a message may end under each policy, in the API's words.
_ENDS = {"hold": {"sent", "held"}, "resend": {"sent", "unknown"}}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message that the next hop took."""

    message_id: str
    date: str
    octets: bytes


def judge(letter: Letter, view: Mapping[str, Any] | None, arrivals: Sequence[Arrival]) -> list[str]:
    """Return what is wrong with a letter; ``view`` is what GET tells of it, None: nothing."""
    if letter.id is None:
        return [f"{letter.key} never got its 202"]
    name = f"{letter.key} ({letter.id}, {letter.policy}, {letter.point})"
    if view is None:
        return [f"LOST: {name} was accepted and is not known any more"]
    faults = []
    status, outcomes = view["status"], [attempt["outcome"] for attempt in view["attempts"]]
    times, unknown = len(arrivals), outcomes.count("unknown")
    if status not in _ENDS[letter.policy]:
        faults.append(f"{name} ended as {status}")
    if status == "sent" and not arrivals:
        faults.append(f"LOST: {name} is called sent and never arrived")
    if status != "sent" and not unknown:
        faults.append(f"LOST: {name} ended as {status} without an unknown attempt")
    if times > _MOST[letter.policy]:
        faults.append(f"{name} arrived {times} times")
    if times > 1 and not unknown:
        faults.append(f"{name} arrived {times} times, and no attempt is unknown")
    if letter.policy == "hold" and unknown and outcomes[-1] != "unknown":
        faults.append(f"{name} was tried again after an unknown attempt")
    if len(set(arrivals)) > 1:
        faults.append(f"{name} arrived with different Date or content")
    return faults


def is_lost(faults: Iterable[str]) -> bool:
    """Whether faults say that a promise to keep a message was broken."""
    return any(fault.startswith("LOST") or "never got" in fault for fault in faults)


@dataclass(slots=True)
class Tally:
    """The judged letters, counted by point and policy."""

    kills: Counter[str]
    rows: dict[tuple[str, str], Counter[str]]
    faults: list[str]

    def table(self) -> str:
        """Return the table for people."""
        heads = ("accepted", "once", "twice", "never", "unknown", "lost")
        lines = [f"{'point':<24} {'policy':<7} {'kills':>5} " + " ".join(f"{head:>8}" for head in heads)]
        totals: dict[str, Counter[str]] = defaultdict(Counter)
        for point in self.kills:
            for policy in POLICIES:
                row = self.rows.get((point, policy), Counter())
                totals[policy] += row
                lines.append(self._line(point, policy, self.kills[point], row, heads))
        for policy in POLICIES:
            lines.append(self._line("all", policy, self.kills.total(), totals[policy], heads))
        return "\n".join(lines)

    @staticmethod
    def _line(point: str, policy: str, kills: int, row: Mapping[str, int], heads: Sequence[str]) -> str:
        return f"{point:<24} {policy:<7} {kills:>5} " + " ".join(f"{row[head]:>8}" for head in heads)


def tally(
    kills: Counter[str],
    letters: Sequence[Letter],
    views: Mapping[int, Mapping[str, Any] | None],
    arrivals: Sequence[Arrival],
) -> Tally:
    """Judge every letter; ``views`` by the letter's number. What arrived without ever being accepted is a fault."""
    by_id: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        by_id[arrival.message_id].append(arrival)
    result = Tally(kills, defaultdict(Counter), [])
    for letter in letters:
        view = views.get(letter.number)
        came = by_id.pop(view["message_id"], []) if view else []
        faults = judge(letter, view, came)
        result.faults += faults
        row = result.rows[letter.point, letter.policy]
        row["accepted"] += letter.id is not None
        row[("never", "once")[len(came)] if len(came) < 2 else "twice"] += 1
        row["unknown"] += view is not None and any(attempt["outcome"] == "unknown" for attempt in view["attempts"])
        row["lost"] += is_lost(faults)
    result.faults += [f"{message_id} arrived and nobody was told a 202 for it" for message_id in by_id]
    return result
