"""`python -m uistory`: what a person does with a swarm in the browser, from its hosts to its logs, each check by name.

Its exit status is 0 if none failed. Further arguments are pytest's.
"""

import contextlib
import io
import sys
from time import perf_counter

import pytest

from operate.report import Report
from uistory.table import ROWS


def main() -> int:
    begun = perf_counter()
    report, log = Report(ROWS, "ui"), io.StringIO()
    tests = [test for row in ROWS for test in row.tests]
    with contextlib.redirect_stdout(log):
        status = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:], *tests], plugins=[report])
    if report.missed:
        print(log.getvalue())
    *checks, summary = report.lines()
    for line in (*checks, f"in {perf_counter() - begun:.0f} s", summary):
        print(line)
    return int(report.missed > 0 or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED))


if __name__ == "__main__":
    sys.exit(main())
