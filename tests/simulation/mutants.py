"""`make mutate-slices`: puts faults into the code of slices, one at a time, and says who finds each of them.

Each fault is put into a copy of the package. First so many swarms are simulated with it, until one breaks an
invariant; where none does, the tests of slices are run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from simulation.mutations import FAULTS, Fault

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "swarmlearning"
TESTS: Final = (
    "rounds/test_sharing*.py",
    "rounds/test_looking.py",
    "rounds/test_checking.py",
    "ledger/test_slice*.py",
    "ledger/test_checks.py",
    "sl/test_readers.py",
)
"""Below the tests; patterns."""
SECONDS: Final = 900.0
"""Seconds of the simulation or the tests of one fault; one that takes longer counts as found: it goes on for ever."""


def put_in(fault: Fault, folder: Path) -> None:
    """Writes the file with this fault below the folder. Raises `ValueError` when the code does not have the place."""
    text = (PACKAGE / fault.file).read_text()
    if text.count(fault.sound) != 1:
        raise ValueError(f"{fault.name}: {fault.file} has its place {text.count(fault.sound)} times: {fault.sound!r}")
    (folder / "swarmlearning" / fault.file).write_text(text.replace(fault.sound, fault.faulty))


def found_by(fault: Fault, first: int, seeds: int) -> str:
    """Returns what finds it: `simulation`, `tests`, or `nothing`, with the first line of the finding."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder) / "swarmlearning", ignore=shutil.ignore_patterns("__pycache__"))
        put_in(fault, Path(folder))
        tests = [str(path) for pattern in TESTS for path in sorted((ROOT / "tests").glob(pattern))]
        ways = {
            "simulation": ["-m", "simulation", "--slices", "--alone", "--first", str(first), "--seeds", str(seeds)],
            "tests": ["-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests],
        }
        env = os.environ | {"PYTHONPATH": f"{folder}:{ROOT / 'tests'}"}
        for way, arguments in ways.items():
            try:
                done = subprocess.run(
                    [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=SECONDS
                )
            except subprocess.TimeoutExpired:
                return f"{way}: it goes on for ever"
            if done.returncode:
                lines = (done.stdout + done.stderr).splitlines()
                marked = [line for line in lines if line.startswith(("seed ", "FAILED", "ERROR"))]
                return f"{way}: {(marked or lines or ['?'])[0][:160]}"
    return "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation.mutants")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    for fault in _asked(asked.only):
        found = found_by(fault, asked.first, asked.seeds)
        counts[found.partition(":")[0]] += 1
        print(f"{fault.name} ({fault.file}): {found}", flush=True)
    print(", ".join(f"{count} found by {way}" for way, count in sorted(counts.items())))
    return 1 if counts["nothing"] or counts["simulation"] < 0.9 * counts.total() else 0


def _asked(only: str) -> Iterator[Fault]:
    return (fault for fault in FAULTS if only in fault.name)


if __name__ == "__main__":
    sys.exit(main())
