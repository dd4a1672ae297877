"""Tells what was measured: a table for people, ``results.json`` for programs, a plot as SVG. Pure but for ``write``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from math import log2
from pathlib import Path
from statistics import median
from typing import Any

from bench.goals import GOALS, Measure, Readings

_ROW, _LEFT, _WIDTH, _RIGHT = 24, 430, 380, 150
_SCALE = (-2.0, 3.0)  # a quarter to eight times the goal, in powers of two
_MET, _MISSED, _INK, _FAINT = "#2a7f62", "#c2452d", "#1f2933", "#c9d1d9"


def number(value: float) -> str:
    """Return a value in three significant digits, as people write it."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def table(measures: Sequence[Measure], readings: Readings) -> str:
    """Return the table of goals and, below it, every reading that they were made of (median, lowest to highest)."""
    head = ("measure", "value", "range", "goal", "fails at", "met")
    rows = [
        (
            each.goal.name,
            number(each.value),
            f"{number(each.low)}–{number(each.high)}",
            each.goal.text,
            "" if each.goal.limit is None else f"{each.goal.limit:g}",
            "yes" if each.met else "NO",
        )
        for each in measures
    ]
    others = [
        (name, number(median(rounds)), f"{number(min(rounds))}–{number(max(rounds))}")
        for name, rounds in readings.items()
        if name not in {goal.name for goal in GOALS}
    ]
    return _aligned([head, *rows]) + "\n\n" + _aligned([("reading", "median", "range"), *others])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def results(machine: Mapping[str, Any], rounds: int, measures: Sequence[Measure], readings: Readings) -> dict[str, Any]:
    """Return what ``results.json`` holds; ``readings`` has the value of every round."""
    return {
        "machine": dict(machine),
        "rounds": rounds,
        "measures": [
            {
                "name": each.goal.name,
                "value": round(each.value, 4),
                "goal": each.goal.value,
                "limit": each.goal.limit,
                "met": each.met,
            }
            for each in measures
        ],
        "readings": {name: [round(value, 4) for value in values] for name, values in readings.items()},
    }


def plot(measures: Sequence[Measure]) -> str:
    """Return a bar for each goal on a scale of powers of two: to the right of the line it is met."""
    height = _ROW * (len(measures) + 2)
    goal_at = _x(1.0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{goal_at}" y="15" text-anchor="middle" fill="{_INK}">goal</text>',
    ]
    for factor in (0.25, 0.5, 2.0, 4.0, 8.0):
        x = _x(factor)
        lines.append(f'<text x="{x}" y="15" text-anchor="middle" fill="{_INK}">×{factor:g}</text>')
        lines.append(f'<line x1="{x}" x2="{x}" y1="20" y2="{height}" stroke="{_FAINT}"/>')
    for place, each in enumerate(measures, 1):
        lines += _bar(each, place * _ROW + 4)
    lines.append(f'<line x1="{goal_at}" x2="{goal_at}" y1="20" y2="{height}" stroke="{_INK}" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>", ""])


def _bar(measure: Measure, top: int) -> list[str]:
    end, start = _x(measure.score), _x(1.0)
    colour = _MET if measure.met else _MISSED
    middle = top + 13
    value = f"{number(measure.value)}  ({measure.goal.text})"
    return [
        f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end" fill="{_INK}">{escape(measure.goal.name)}</text>',
        f'<rect x="{min(start, end):.1f}" y="{top}" width="{max(2.0, abs(end - start)):.1f}" height="{_ROW - 8}" '
        f'fill="{colour}"/>',
        f'<text x="{_LEFT + _WIDTH + 10}" y="{middle}" fill="{colour}">{escape(value)}</text>',
    ]


def _x(score: float) -> float:
    low, high = _SCALE
    return _LEFT + _WIDTH * (min(max(log2(score), low), high) - low) / (high - low)


def write(folder: Path, told: Mapping[str, Any], measures: Sequence[Measure]) -> None:
    """Write ``results.json`` and ``results.svg``."""
    (folder / "results.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "results.svg").write_text(plot(measures), encoding="utf-8")
