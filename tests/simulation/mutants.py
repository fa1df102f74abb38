"""`make mutate-slices` and `make mutate-steps`: puts faults into the code of slices, or of outer steps and error
feedback, one at a time, and says who finds each of them.

Each fault is put into a copy of the package. First so many swarms are simulated with it, until one breaks an
invariant; where none does, the tests of that code are run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from simulation.kinds import FEEDBACK, OUTER
from simulation.mutations import FAULTS, Fault
from simulation.stepfaults import STEP_FAULTS

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "swarmlearning"
TESTS: Final = (
    "rounds/test_sharing*.py",
    "rounds/test_collecting.py",
    "rounds/test_surveying.py",
    "rounds/test_checking.py",
    "ledger/test_slice*.py",
    "ledger/test_checks.py",
    "sl/test_readers.py",
)
"""Below the tests; patterns."""
STEP_TESTS: Final = (
    "merge/test_outer.py",
    "merge/test_changes.py",
    "ledger/test_outer_steps.py",
    "rounds/test_facts.py",
    "rounds/test_feedback.py",
    "rounds/test_releasing.py",
    "rounds/test_sharing.py",
    "sl/test_outersteps.py",
    "sl/test_changes.py",
)
OF_STEPS: Final = ("--only", OUTER, "--only", FEEDBACK)
"""Options of the simulation: swarms with either."""
IN_SLICES: Final = ("rounds/sharing.py",)
"""Files whose faults show only where rounds are merged in slices."""
SECONDS: Final = 900.0
"""Seconds of the simulation or the tests of one fault; one that takes longer counts as found: it goes on for ever."""


def put_in(fault: Fault, folder: Path) -> None:
    """Writes the file with this fault below the folder. Raises `ValueError` when the code does not have the place."""
    (folder / "swarmlearning" / fault.file).write_text(faulty(fault))


def faulty(fault: Fault) -> str:
    """Returns the file's text with this fault. Raises `ValueError` when the code does not have the place."""
    text = (PACKAGE / fault.file).read_text()
    if text.count(fault.sound) != 1:
        raise ValueError(f"{fault.name}: {fault.file} has its place {text.count(fault.sound)} times: {fault.sound!r}")
    return text.replace(fault.sound, fault.faulty)


def found_by(fault: Fault, first: int, seeds: int, *, steps: bool) -> str:
    """Returns what finds it: `simulation`, `tests`, or `nothing`, with the first line of the finding."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder) / "swarmlearning", ignore=shutil.ignore_patterns("__pycache__"))
        put_in(fault, Path(folder))
        patterns = STEP_TESTS if steps else TESTS
        kinds = [*(OF_STEPS if steps else ()), *(["--slices"] if not steps or fault.file in IN_SLICES else ())]
        tests = [str(path) for pattern in patterns for path in sorted((ROOT / "tests").glob(pattern))]
        ways = {
            "simulation": ["-m", "simulation", "--alone", *kinds, "--first", str(first), "--seeds", str(seeds)],
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
    parser.add_argument("--steps", action="store_true", help="faults in outer steps and error feedback, not in slices")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    for fault in (fault for fault in (STEP_FAULTS if asked.steps else FAULTS) if asked.only in fault.name):
        found = found_by(fault, asked.first, asked.seeds, steps=asked.steps)
        counts[found.partition(":")[0]] += 1
        print(f"{fault.name} ({fault.file}): {found}", flush=True)
    print(", ".join(f"{count} found by {way}" for way, count in sorted(counts.items())))
    enough = asked.steps or counts["simulation"] >= 0.9 * counts.total()  # it does not compute, so not of steps
    return 0 if enough and not counts["nothing"] else 1


if __name__ == "__main__":
    sys.exit(main())
