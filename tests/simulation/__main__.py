"""`python -m simulation --first 0 --seeds 2000 [--trace]`: simulates many swarms; the first violation ends the run."""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from simulation.chance import varied_swarm
from simulation.faults import OF_A_LEADER
from simulation.hectic import hectic_swarm
from simulation.locks import add_lock
from simulation.looks import add_look_troubles
from simulation.organisations import add_organisations
from simulation.slices import add_slice_troubles, always_chosen
from simulation.summary import summary
from simulation.swarm import Swarm, Trace
from simulation.troubles import add_troubles
from simulation.unsigned import signatures_unchecked

SHOWN = 60
CHUNK = 100
"""Seeds that a process simulates at a time."""
SEEDS_OF_GARBAGE = 10
"""Seeds after which the garbage of their swarms is collected."""


class Findings(NamedTuple):
    """Counts over many swarms: their outcomes, the faults that struck, the transactions, and the CPU time."""

    outcomes: Counter[str]
    struck: Counter[str]
    said: Counter[str]
    moves: Counter[str]
    cpu_seconds: float

    def __str__(self) -> str:
        return summary(self.outcomes, self.cpu_seconds)

    def census(self) -> str:
        """Returns the faults by kind, with how many of them struck a leader, and the transactions by kind."""
        faults = ", ".join(
            f"{kind} {count}" + (f" ({led} of leaders)" if (led := self.struck[f"{kind}{OF_A_LEADER}"]) else "")
            for kind, count in sorted(self.struck.items())
            if not kind.endswith(OF_A_LEADER)
        )
        words = ", ".join(f"{kind} {count}" for kind, count in sorted(self.said.items()))
        moves = ", ".join(f"{move} {count}" for move, count in sorted(self.moves.items()))
        return f"struck: {faults}\nsaid: {words}\nadversaries: {moves}"

    def __add__(self, other: object) -> "Findings":
        assert isinstance(other, Findings)
        times = self.cpu_seconds + other.cpu_seconds
        struck, moves = self.struck + other.struck, self.moves + other.moves
        return Findings(self.outcomes + other.outcomes, struck, self.said + other.said, moves, times)


def random_swarm(seed: int, trace: Trace | None = None, *, sliced: bool = False) -> Swarm:
    """Builds the swarm of this seed; every other swarm is a hectic one. `sliced`: rounds are merged in slices."""
    make = hectic_swarm if seed % 2 else varied_swarm
    swarm = make(seed, trace, sliced=sliced)
    add_troubles(swarm, seed)
    add_organisations(swarm, seed)
    add_lock(swarm, seed)
    if sliced:
        add_slice_troubles(swarm, seed)
        add_look_troubles(swarm, seed)
    return swarm


def simulate(first: int, seeds: int, sliced: bool = False) -> Findings:
    """Runs the swarms of these seeds. Raises `AssertionError` with seed, reason and the last steps."""
    outcomes: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    said: Counter[str] = Counter()
    moves: Counter[str] = Counter()
    begun = time.process_time()
    with signatures_unchecked(), always_chosen(sliced), garbage_kept():
        for seed in range(first, first + seeds):
            if seed % SEEDS_OF_GARBAGE == 0:
                gc.collect()
            try:
                swarm = random_swarm(seed, sliced=sliced)
                outcomes[swarm.run()] += 1
            except Exception as error:
                raise AssertionError(report(seed, error, sliced)) from error
            struck += swarm.struck
            said += swarm.log.said()
            moves += swarm.moves
    return Findings(outcomes, struck, said, moves, time.process_time() - begun)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Collects garbage only on request while inside: a swarm keeps nearly all that it makes, and is soon over. What was
    there before is not looked through."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def simulate_in_parallel(first: int, seeds: int, sliced: bool = False) -> Findings:
    """Runs the swarms of these seeds on all processors."""
    firsts = range(first, first + seeds, CHUNK)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        try:
            counts = [min(CHUNK, first + seeds - begin) for begin in firsts]
            found, *others = pool.map(simulate, firsts, counts, [sliced] * len(firsts))
        except AssertionError:
            pool.shutdown(cancel_futures=True)
            raise
    return sum(others, found)


def report(seed: int, error: Exception, sliced: bool = False) -> str:
    """Runs a seed that failed again, and returns the failure with the last steps before it."""
    lines = trace(seed, sliced)
    head = f"seed {seed}: {type(error).__name__}: {error}"
    again = f"again, whole: make simulate FIRST={seed} SEEDS=1 TRACE=1{' SLICES=1' if sliced else ''}"
    return "\n".join([head, *lines[-SHOWN:], head, again])


def trace(seed: int, sliced: bool = False) -> list[str]:
    """Returns every step of the swarm of this seed, one a line."""
    lines: list[str] = []
    with signatures_unchecked(), always_chosen(sliced):
        try:
            swarm = random_swarm(seed, lambda now, who, what: lines.append(f"{now:9.3f} {who:8} {what}"), sliced=sliced)
            lines.append(swarm.run())
        except Exception as error:  # noqa: BLE001 - it is shown
            lines.append(f"{type(error).__name__}: {error}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--alone", action="store_true", help="on one processor")
    parser.add_argument("--slices", action="store_true", help="rounds are merged in slices")
    asked = parser.parse_args()
    if asked.trace:
        for seed in range(asked.first, asked.first + asked.seeds):
            print("\n".join(trace(seed, asked.slices)))
        return 0
    run = simulate if asked.alone else simulate_in_parallel
    try:
        found = run(asked.first, asked.seeds, asked.slices)
    except AssertionError as error:
        print(error)
        return 1
    print(found.census())
    print(f"{found} (from {asked.first})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
