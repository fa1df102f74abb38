"""`python -m security`: runs every check of the table, most of them against real nodes, and prints what held and broke.

Its exit status is 0 if nothing broke. Further arguments are pytest's.
"""

import contextlib
import io
import sys

import pytest

from security.report import Report
from security.table import ROWS


def main() -> int:
    checks = sorted({check for row in ROWS for check in row.checks})
    report, log = Report(), io.StringIO()
    with contextlib.redirect_stdout(log):
        status = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:], *checks], plugins=[report])
    if report.broken:
        print(log.getvalue())
    for line in report.lines():
        print(line)
    return int(report.broken > 0 or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED))


if __name__ == "__main__":
    sys.exit(main())
