"""The rounds that adaptive sync saves: the digits demo with a fixed and an adaptive sync frequency, several times each.

Both begin from the same weights and data for each seed, and train for the same number of epochs. What differs is when
the sites merge: with `useAdaptiveSync` they train longer between rounds while the swarm's loss falls.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits" / "train.py"
LIMIT_SECONDS = 600.0


class Report(msgspec.Struct, frozen=True):
    """The part of a run's report (`cli/report.py`) that is read here."""

    status: str
    swarm_accuracy: float
    rounds: list[msgspec.Raw]


class Outcome(msgspec.Struct, frozen=True):
    """All runs of one kind; the line that `--json` prints. `accuracies` are in order of the seeds."""

    sync: str
    runs: int
    rounds: list[int]
    accuracies: list[float]
    mean_rounds: float
    mean_accuracy: float


def measure(sites: int, runs: int, adaptive: bool) -> Outcome:
    """Runs the demo once for each seed. Raises `CalledProcessError` when one fails."""
    reports = [train(sites, seed, adaptive) for seed in range(1, runs + 1)]
    rounds = [len(report.rounds) for report in reports]
    accuracies = [round(report.swarm_accuracy, 4) for report in reports]
    return Outcome(
        "adaptive" if adaptive else "fixed",
        runs,
        rounds,
        accuracies,
        mean_rounds=round(statistics.mean(rounds), 1),
        mean_accuracy=round(statistics.mean(accuracies), 4),
    )


def train(sites: int, seed: int, adaptive: bool) -> Report:
    """One run of the demo, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-adaptive-") as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "swarmlearning.cli.main", "run", "-n", str(sites), "--no-live"]
        command += ["--runs-dir", folder, "--report", str(report), "--", sys.executable, str(EXAMPLE)]
        environment = os.environ | {"SEED": str(seed), "ADAPTIVE_SYNC": str(adaptive), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment, check=True, timeout=LIMIT_SECONDS, stdout=subprocess.DEVNULL)
        return msgspec.json.decode(report.read_bytes(), type=Report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each kind (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each kind")
    options = parser.parse_args()
    for adaptive in (False, True):
        found = measure(options.sites, options.runs, adaptive)
        if options.json:
            print(msgspec.json.encode(found).decode(), flush=True)
        else:
            print(
                f"{found.sync:8}  {found.mean_rounds:5.1f} rounds, accuracy {found.mean_accuracy:.4f}  "
                f"(rounds {found.rounds}, accuracies {found.accuracies})",
                flush=True,
            )


if __name__ == "__main__":
    main()
