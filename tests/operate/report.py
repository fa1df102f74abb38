"""Plugin of pytest: a line for each check of the table, and at last how many passed.

A story has several checks, each under a name of its own; every other test is a check by itself.
"""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter

import pytest

from operate.table import ROWS, Row
from security.report import function_of
from security.table import sentence
from support.checks import HELD, MISSED


class Report:
    """Collects the checks of all tests of a table. `passed` and `missed`: how many."""

    def __init__(self, rows: Sequence[Row] = ROWS, name: str = "operate") -> None:
        self._rows = rows
        self._name = name
        self._checks: dict[str, list[tuple[bool, str]]] = {}
        self._absent: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = function_of(report.nodeid)
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._absent[test] = reason.removeprefix("Skipped: ")
        elif report.when == "call" or report.failed:
            named = [(name == HELD, str(value)) for name, value in report.user_properties if name in (HELD, MISSED)]
            if report.failed and all(held for held, _ in named):
                named.append((False, sentence(test)))
            elif not named:
                named = [(True, sentence(test))]
            self._checks.setdefault(test, []).extend(one for one in named if one not in self._checks.get(test, ()))

    @property
    def passed(self) -> int:
        return sum(held for _, held, _ in self._all())

    @property
    def missed(self) -> int:
        """A test that was neither reported nor skipped counts."""
        return sum(not held for _, held, _ in self._all())

    def lines(self) -> Iterator[str]:
        """Yields a line for each check, then the summary."""
        part = ""
        for row, held, check in self._all():
            if row != part:
                yield row
                part = row
            yield f"  {'passed' if held else 'FAILED'}  {check}"
        for test, reason in self._absent.items():
            yield f"not run: {sentence(test)} ({reason})"
        yield f"{self._name}: {self.passed} checks passed" + (f", {self.missed} failed" if self.missed else "")

    def _all(self) -> Iterator[tuple[str, bool, str]]:
        for row in self._rows:
            for test in row.tests:
                absent = [] if test in self._absent else [(False, sentence(test))]
                for held, check in self._checks.get(test) or absent:
                    yield row.part, held, check


def run(report: Report, tests: Sequence[str], begun: float) -> int:
    """Runs these tests, with further arguments of the command line for pytest; prints the report and the time since
    `begun` (s), and all that pytest has said where a check failed. Returns the exit status: 0 if none failed."""
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        status = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:], *tests], plugins=[report])
    if report.missed:
        print(log.getvalue())
    *checks, summary = report.lines()
    for line in (*checks, f"in {perf_counter() - begun:.0f} s", summary):
        print(line)
    return int(report.missed > 0 or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED))
