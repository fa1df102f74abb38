"""`python -m simulation --first 0 --seeds 2000 [--trace]`: many swarms; the first violation ends it."""

import argparse
import sys
import time
from collections import Counter

from simulation.swarm import Swarm
from simulation.unsigned import signatures_unchecked

SHOWN = 60


def simulate(first: int, seeds: int, times: Counter[str] | None = None) -> Counter[str]:
    """How the swarms of these seeds ended. Raises `AssertionError` with seed, reason and the last steps.

    `times` counts `seeds` and `cpu_ms`.
    """
    outcomes: Counter[str] = Counter()
    begun = time.process_time()
    with signatures_unchecked():
        for seed in range(first, first + seeds):
            try:
                outcomes[Swarm(seed).run()] += 1
            except Exception as error:
                raise AssertionError(report(seed, error)) from error
    if times is not None:
        times.update(seeds=seeds, cpu_ms=int(1000 * (time.process_time() - begun)))
    return outcomes


def report(seed: int, error: Exception) -> str:
    """The same run again, with its last steps."""
    lines = trace(seed)
    head = f"seed {seed}: {type(error).__name__}: {error}"
    again = f"again, whole: make simulate FIRST={seed} SEEDS=1 TRACE=1"
    return "\n".join([head, *lines[-SHOWN:], head, again])


def trace(seed: int) -> list[str]:
    """What happens with this seed, line by line."""
    lines: list[str] = []
    with signatures_unchecked():
        try:
            swarm = Swarm(seed, lambda now, who, what: lines.append(f"{now:9.3f} {who:8} {what}"))
            lines.append(swarm.run())
        except Exception as error:  # noqa: BLE001 - it is shown
            lines.append(f"{type(error).__name__}: {error}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--trace", action="store_true")
    asked = parser.parse_args()
    if asked.trace:
        for seed in range(asked.first, asked.first + asked.seeds):
            print("\n".join(trace(seed)))
        return 0
    begun = time.perf_counter()
    try:
        outcomes = simulate(asked.first, asked.seeds)
    except AssertionError as error:
        print(error)
        return 1
    taken = time.perf_counter() - begun
    ends = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"{asked.seeds} seeds from {asked.first} in {taken:.1f} s, {asked.seeds / taken:.0f} a second: {ends}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
