"""The report of an examination, for people and for programs."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from swarmlearning.doctor.findings import Finding, Report, Way

WIDTH = 110
MOST = 24
"""Nodes that a matrix shows; --json has all."""


def shown(report: Report, seconds: float) -> Iterator[str]:
    """The lines for people: the likeliest culprit and its remedy first, then whatever else is wrong, then the rest."""
    wrong = report.ordered
    if not wrong:
        yield "Nothing wrong found."
    for number, found in enumerate(wrong):
        if number == 1:
            yield "Also found, and perhaps a consequence of that:"
        yield from _finding(found, "" if number == 0 else "  ")
    if any(way.code != "ok" for way in report.ways):
        yield "Who reaches whom (from the left to the node of that number; . is reached):"
        yield from _matrix(report.ways)
    for heading, lines in (("Note:", report.notes), ("Fine:", report.fine), ("Not examined:", report.unknown)):
        if lines:
            yield heading
            yield from (f"  {line}" for line in lines)
    faults = "no fault" if not wrong else "1 fault" if len(wrong) == 1 else f"{len(wrong)} faults"
    unknown = f", {len(report.unknown)} not examined" if report.unknown else ""
    yield f"{faults}, {len(report.fine)} in order{unknown} ({seconds:.1f} s)"


def _finding(found: Finding, indent: str) -> Iterator[str]:
    head = f"{found.subject}: {found.text} [{found.code}]"
    yield from textwrap.wrap(head[:1].upper() + head[1:], WIDTH, initial_indent=indent, subsequent_indent=indent)
    yield from textwrap.wrap(
        f"Remedy: {found.remedy}", WIDTH, initial_indent=f"{indent}  ", subsequent_indent=f"{indent}  "
    )


def _matrix(ways: Sequence[Way]) -> Iterator[str]:
    """A line for each node that has tried: the worst that came of each other one."""
    names = sorted({name for way in ways for name in (way.origin, way.target)})[:MOST]
    worst = {(way.origin, way.target): "." for way in ways}
    worst |= {(way.origin, way.target): way.code for way in ways if way.code != "ok"}
    width = max(4, *map(len, worst.values()))
    label = max(map(len, names)) + 4
    yield f"  {'':{label}}" + " ".join(f"{number:>{width}}" for number in range(1, len(names) + 1))
    for number, name in enumerate(names, 1):
        cells = " ".join(f"{worst.get((name, other), ''):>{width}}" for other in names)
        yield f"  {number:>2}  {name:{label - 4}}{cells}".rstrip()


def as_data(report: Report, seconds: float) -> dict[str, Any]:
    """The same for programs."""
    return {
        "healthy": not report.wrong,
        "wrong": [msgspec.to_builtins(found) for found in report.ordered],
        "notes": report.notes,
        "fine": report.fine,
        "unknown": report.unknown,
        "ways": [msgspec.to_builtins(way) for way in report.ways],
        "seconds": round(seconds, 2),
    }
