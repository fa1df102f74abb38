"""Plugin of pytest: one line for each check of the table that was run, and at last how many held and broke.

A check held if every test of it passed; what could not be run, since something is missing here, is counted apart.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import TextIO

import pytest

from security.table import ROWS, sentence


def function_of(node_id: str) -> str:
    """Returns a test's ID without its parameters."""
    return node_id.partition("[")[0]


class Report:
    """Collects the outcomes of tests by check. `broken` is the number of checks that broke."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self._outcomes: defaultdict[str, set[str]] = defaultdict(set)
        self._reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        check = function_of(report.nodeid)
        if report.failed:
            self._outcomes[check].add("failed")
            self._reasons.setdefault(check, report.longreprtext.strip().rpartition("\n")[2])
        elif report.skipped:
            self._outcomes[check].add("skipped")
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._reasons.setdefault(check, reason.removeprefix("Skipped: "))
        elif report.when == "call":
            self._outcomes[check].add("passed")

    @property
    def broken(self) -> int:
        return self._count("broke")

    def lines(self) -> Iterator[str]:
        """Yields a line for each check, then the summary. A check of the table that was not reported at all broke."""
        for row in ROWS:
            yield f"{row.number}: {row.attack}"
            for check in row.checks:
                result, reason = self._result(check), self._reasons.get(check, "")
                detail = f" ({reason})" if result != "held" and reason else ""
                yield f"  {result:8} {sentence(check)}{detail}"
        missing = self._count("not run")
        apart = f" ({missing} not run: what they need is missing here)" if missing else ""
        if apart:
            yield apart.strip()
        yield f"security: {self._count('held')} held, {self.broken} broke"

    def _count(self, result: str) -> int:
        return sum(self._result(check) == result for check in {check for row in ROWS for check in row.checks})

    def _result(self, check: str) -> str:
        outcomes = self._outcomes.get(check, set())
        if "failed" in outcomes or not outcomes:
            return "broke"
        return "held" if "passed" in outcomes else "not run"
