"""The report of an examination, for people and for programs."""

import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from swarmlearning.cli.doctor.findings import Finding, Report

WIDTH = 110


def shown(report: Report, seconds: float) -> Iterator[str]:
    """The lines for people: the likeliest culprit and its remedy first, then whatever else is wrong, then the rest."""
    wrong = report.ordered
    if not wrong:
        yield "Nothing wrong found."
    for number, found in enumerate(wrong):
        if number == 1:
            yield "Also found, and perhaps a consequence of that:"
        yield from _finding(found, "" if number == 0 else "  ")
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


def as_data(report: Report, seconds: float) -> dict[str, Any]:
    """The same for programs."""
    return {
        "healthy": not report.wrong,
        "wrong": [msgspec.to_builtins(found) for found in report.ordered],
        "notes": report.notes,
        "fine": report.fine,
        "unknown": report.unknown,
        "seconds": round(seconds, 2),
    }
