"""The time of an honest member's commits while another organisation sends the SN all it can.

A network of two organisations, on this machine: first the honest member is alone, then the other one's process, at the
lowest priority, sends without pause (`spammer.py`). Each of the honest member's transactions is sent when the one
before it is on the chain.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec

from clients import clients
from launch import HOST, hear, start
from machine import run_benchmark
from sns import Ordering, Sns
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.ordering.etcd.binary import find_binary
from swarmlearning.supervise.processes import Processes
from swarmlearning.transport.loop import run

WARM_UP = 20
LIMIT_SECONDS = 300.0
SPAMMER = "SWCI-9"
BOUND = 4.0
"""The loaded median is to be at most so many times the unloaded one."""
SNS: dict[Ordering, int] = {"local": 1, "etcd": 3}


class Outcome(msgspec.Struct, frozen=True):
    """The measurements with one ordering engine; the line that `--json` prints. Rates are by kind, a second."""

    ordering: Ordering
    unloaded_s: float
    loaded_s: float
    loaded_p99_s: float
    spam_per_s: dict[str, float]

    @property
    def ratio(self) -> float:
        """The loaded median by the unloaded one."""
        return self.loaded_s / self.unloaded_s


async def measure(folder: Path, orderings: Sequence[Ordering], samples: int, seconds: float) -> list[Outcome]:
    """One engine after the other. Raises `RunError`, alone or in a group."""
    return [await _measure(folder / ordering, ordering, samples, seconds) for ordering in orderings]


async def _measure(folder: Path, ordering: Ordering, samples: int, seconds: float) -> Outcome:
    async with Processes(folder, os.environ) as processes:
        sns = Sns(processes, folder, SNS[ordering], ordering)
        other = create_authority("CA-2", days=2)  # one more authority is one more organisation
        sns.workspace.save_authority("CA-2", other)
        sns.workspace.save_node(SPAMMER, issue(other, SPAMMER, [], [HOST], days=1))
        await sns.found()
        unloaded = await asyncio.to_thread(run, _commits(sns, "alone", 0.0, samples))
        command = [sys.executable, str(Path(__file__).with_name("spammer.py")), "--address", sns.addresses[0]]
        command += ["--workspace", str(folder / "cert"), "--name", SPAMMER]
        spammer = await start(processes, "spammer", command)
        await hear(processes, spammer)
        loaded = await asyncio.to_thread(run, _commits(sns, "beside", seconds, samples))
        spammer.writer.write_eof()
        rates = msgspec.json.decode(await hear(processes, spammer), type=dict[str, float])
        await spammer.child.end
        spammer.writer.close()
    return Outcome(
        ordering,
        round(statistics.median(unloaded), 6),
        round(statistics.median(loaded), 6),
        round(loaded[int(0.99 * len(loaded))], 6),
        {what: round(rate, 1) for what, rate in rates.items()},
    )


async def _commits(sns: Sns, name: str, seconds: float, samples: int) -> list[float]:
    """Sorted seconds of so many commits at least, and for so long."""
    found: list[float] = []
    async with asyncio.timeout(LIMIT_SECONDS), clients(sns.client, sns.addresses[:1], 1, name) as (one,):
        for _ in range(WARM_UP):
            await one.commit()
        until = perf_counter() + seconds
        while len(found) < samples or perf_counter() < until:
            begin = perf_counter()
            await one.commit()
            found.append(perf_counter() - begin)
    return sorted(found)


def table(found: Sequence[Outcome]) -> str:
    """For people."""
    return "\n\n".join(map(_section, found))


def _section(outcome: Outcome) -> str:
    ratio = f"{outcome.ratio:.1f} times as long, bound {BOUND:g}"
    lines = [
        f"{SNS[outcome.ordering]} SN, ordering {outcome.ordering}",
        "",
        f"  commit alone, median    {outcome.unloaded_s * 1000:8.2f} ms",
        f"  beside spam, median     {outcome.loaded_s * 1000:8.2f} ms   ({ratio})",
        f"               p99        {outcome.loaded_p99_s * 1000:8.2f} ms",
        "",
        "  the other organisation, in one process at the lowest priority, a second:",
        *(f"    {what:28} {rate:10.1f}" for what, rate in sorted(outcome.spam_per_s.items())),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300, help="commits at least (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long beside spam (default %(default)s)")
    parser.add_argument("--orderings", nargs="+", choices=list(SNS), help="by default all that this machine has")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each engine instead of a table")
    options = parser.parse_args()
    if options.samples < 1 or options.seconds <= 0:
        parser.error("at least 1 sample and some time are needed")
    chosen = options.orderings or [each for each in SNS if each == "local" or find_binary(os.environ)]
    found = run_benchmark("bench-spam", lambda folder: measure(folder, chosen, options.samples, options.seconds))
    if options.json:
        for outcome in found:
            print(msgspec.json.encode(outcome).decode())
    else:
        print(table(found))


if __name__ == "__main__":
    main()
