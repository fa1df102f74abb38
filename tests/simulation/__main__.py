"""`python -m simulation --first 0 --seeds 2000 [--trace]`: simulates many swarms; the first violation ends the run.

A sweep of many hours runs `--alone --go-on`: it says from time to time how far it has come, and names every seed that
has failed. `--only` runs the swarms of some kinds, and passes over the others: see `kinds.py`.
"""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from simulation.chance import varied_swarm
from simulation.faults import OF_A_LEADER
from simulation.hectic import hectic_swarm
from simulation.kinds import KINDS, kinds_of
from simulation.locks import add_lock
from simulation.organisations import add_organisations
from simulation.slices import add_slice_troubles, always_chosen
from simulation.summary import summary
from simulation.surveys import add_survey_troubles
from simulation.swarm import Swarm, Trace
from simulation.troubles import add_troubles
from simulation.unsigned import signatures_unchecked

SHOWN = 60
CHUNK = 100
"""Seeds that a process simulates at a time."""
SEEDS_OF_GARBAGE = 10
"""Seeds after which the garbage of their swarms is collected."""


class Findings(NamedTuple):
    """Counts over many swarms: their outcomes, the faults that struck, the transactions, the swarms of each kind, and
    the CPU time."""

    outcomes: Counter[str]
    struck: Counter[str]
    said: Counter[str]
    moves: Counter[str]
    cpu_seconds: float
    kinds: Counter[str]

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
        kinds = ", ".join(f"{count} with {kind}" for kind, count in sorted(self.kinds.items()))
        return f"struck: {faults}\nsaid: {words}\nadversaries: {moves}\nof these: {kinds or 'none of any special kind'}"

    def __add__(self, other: object) -> "Findings":
        assert isinstance(other, Findings)
        return Findings(
            self.outcomes + other.outcomes,
            self.struck + other.struck,
            self.said + other.said,
            self.moves + other.moves,
            self.cpu_seconds + other.cpu_seconds,
            self.kinds + other.kinds,
        )


def random_swarm(seed: int, trace: Trace | None = None, *, sliced: bool = False) -> Swarm:
    """Builds the swarm of this seed; every other swarm is a hectic one. `sliced`: rounds are merged in slices."""
    make = hectic_swarm if seed % 2 else varied_swarm
    swarm = make(seed, trace, sliced=sliced)
    add_troubles(swarm, seed)
    add_organisations(swarm, seed)
    add_lock(swarm, seed)
    if sliced:
        add_slice_troubles(swarm, seed)
        add_survey_troubles(swarm, seed)
    return swarm


NOTHING = Findings(Counter(), Counter(), Counter(), Counter(), 0.0, Counter())


def simulate(
    first: int, seeds: int, sliced: bool = False, only: Collection[str] = (), failed: list[str] | None = None
) -> Findings:
    """Runs the swarms of these seeds, where kinds are named only those of one of these. Raises `AssertionError` with
    seed, reason and the last steps, or adds that to those that have `failed`, and goes on."""
    outcomes, struck, said, moves, kinds = (Counter[str]() for _ in range(5))
    begun = time.process_time()
    with signatures_unchecked(), always_chosen(sliced), garbage_kept():
        for seed in range(first, first + seeds):
            if seed % SEEDS_OF_GARBAGE == 0:
                gc.collect()
            try:
                swarm = random_swarm(seed, sliced=sliced)
                if only and kinds_of(swarm).isdisjoint(only):
                    continue
                outcomes[swarm.run()] += 1
            except Exception as error:
                text = report(seed, error, sliced)
                if failed is None:
                    raise AssertionError(text) from error
                failed.append(text)
                continue
            struck += swarm.struck
            said += swarm.log.said()
            moves += swarm.moves
            kinds.update(kinds_of(swarm))
    return Findings(outcomes, struck, said, moves, time.process_time() - begun, kinds)


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


def simulate_in_parallel(first: int, seeds: int, sliced: bool = False, only: Collection[str] = ()) -> Findings:
    """Runs the swarms of these seeds on all processors."""
    firsts = range(first, first + seeds, CHUNK)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        try:
            counts = [min(CHUNK, first + seeds - begin) for begin in firsts]
            found, *others = pool.map(simulate, firsts, counts, [sliced] * len(firsts), [only] * len(firsts))
        except AssertionError:
            pool.shutdown(cancel_futures=True)
            raise
    return sum(others, found)


def sweep(first: int, seeds: int, sliced: bool, only: Collection[str]) -> tuple[Findings, int]:
    """Runs the swarms of these seeds one after the other, and says how far it is; also returns how many have failed."""
    found, failures = NOTHING, 0
    for begin in range(first, first + seeds, CHUNK):
        failed: list[str] = []
        found += simulate(begin, min(CHUNK, first + seeds - begin), sliced, only, failed)
        failures += len(failed)
        for text in failed:
            print(text.partition("\n")[0], flush=True)
        print(f"until {begin + CHUNK}: {found}; {failures} failed", file=sys.stderr, flush=True)
    return found, failures


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
    parser.add_argument("--only", action="append", choices=KINDS, default=[], help="swarms of this kind, or of several")
    parser.add_argument("--go-on", action="store_true", help="on one processor, whatever fails")
    asked = parser.parse_args()
    if asked.trace:
        for seed in range(asked.first, asked.first + asked.seeds):
            print("\n".join(trace(seed, asked.slices)))
        return 0
    failures = 0
    try:
        if asked.go_on:
            found, failures = sweep(asked.first, asked.seeds, asked.slices, asked.only)
        else:
            run = simulate if asked.alone else simulate_in_parallel
            found = run(asked.first, asked.seeds, asked.slices, asked.only)
    except AssertionError as error:
        print(error)
        return 1
    print(found.census())
    print(f"{found} (from {asked.first})" + (f"; {failures} failed" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
