"""`python -m fuzz --inputs 50000 [--target NAME]`: fuzzes every reader in a process of its own, guided by coverage.

Prints a line for each: inputs, the lines and branches that they ran, the process's memory, and what was found. The
exit status is 1 if anything was. What was kept of earlier runs is where the next one begins.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from fuzz.site import MEMORY
from fuzz.table import TARGETS

FOLDER: Final = Path("runs") / "fuzz"
"""Corpora and findings, by target."""
_STATE = re.compile(r"^#(\d+)\s.*\bcov: (\d+).*\brss: (\d+)Mb", re.MULTILINE)


def summary(name: str, output: str, status: int) -> str:
    """A line about a process of `fuzz.guided` that has ended."""
    states = _STATE.findall(output)
    inputs, covered, megabytes = states[-1] if states else ("0", "0", "0")
    found = "nothing found" if status == 0 and states else f"FOUND (exit status {status}); see {FOLDER / name}"
    return f"{name}: {inputs} inputs, {covered} places covered, {megabytes} MB{_growth(states)}: {found}"


def _growth(states: list[tuple[str, str, str]]) -> str:
    """By how much the process grew while it read the second half of the inputs, as far as it has said."""
    if not states:
        return ""
    last, _, megabytes = states[-1]
    before = [state for state in states if int(state[0]) * 2 >= int(last)]
    return f" (+{int(megabytes) - int(before[0][2])} MB in the second half)"


def fuzz(name: str, inputs: int) -> int:
    """Fuzzes one target; returns the exit status of the process, whose output is kept beside its corpus."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.guided", name, str(folder), str(inputs)]
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as own:  # libFuzzer ends without cleaning up
        variables = os.environ | {"TMPDIR": own}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=variables)
    output = done.stdout.decode(errors="replace")
    (folder / "output.txt").write_text(output)
    print(summary(name, output, done.returncode), flush=True)
    return done.returncode


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--inputs", type=int, required=True, help="for each target")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="one of them; can be repeated")
    arguments = parser.parse_args()
    statuses = [fuzz(name, arguments.inputs) for name in arguments.target or TARGETS]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
