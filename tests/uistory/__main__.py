"""`python -m uistory`: what a person does with a swarm in the browser, from its hosts to its logs, each check by name.

Its exit status is 0 if none failed. Further arguments are pytest's.
"""

import sys
from time import perf_counter

from operate.report import Report, run
from uistory.table import ROWS


def main() -> int:
    return run(Report(ROWS, "ui"), [test for row in ROWS for test in row.tests], perf_counter())


if __name__ == "__main__":
    sys.exit(main())
