"""`python -m operate`: a whole training driven by one SWCI script, and all that may go wrong, each check by name.

Its exit status is 0 if none failed. Further arguments are pytest's.
"""

import subprocess
import sys
from time import perf_counter

from operate.report import Report, run
from operate.table import ROWS


def main() -> int:
    # The images are built before the clock starts, in a process of its own: pytest wants to import its plugins itself.
    subprocess.run([sys.executable, "-m", "support.images"], check=True)
    return run(Report(), [test for row in ROWS for test in row.tests], perf_counter())


if __name__ == "__main__":
    sys.exit(main())
