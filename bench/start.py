"""Time until an SN and an SL are ready on a long chain: cold, without a checkpoint, and warm, with one.

Cold, each verifies and replays every block; an SN from its chain file, an SL from what the SN sends. Warm, each starts
from the checkpoint that it has written when it was stopped; the SN then checks the older blocks again in the
background. Both are real processes on this machine, one after the other; the time runs from the start of the process
until it says that it is ready, and includes Python's imports. Memory is what the process holds in RAM then.
"""

import argparse
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import msgspec

from launch import HOST, hear, start_node
from longchain import SL, SN, long_chain
from machine import MEGABYTE, resident_bytes, run_benchmark
from swarmlearning.address import split
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.block import transaction_ids
from swarmlearning.node.checkpoints import FILE
from swarmlearning.ordering.local import iterate_chain_file
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.supervise.processes import Processes, RunError


class Outcome(msgspec.Struct, frozen=True):
    """The measurements of one node; a line that `--json` prints. `rss_mb`: its memory once it is ready, warm."""

    node: str
    blocks: int
    transactions: int
    cold_s: float
    warm_s: float
    rss_mb: float


class Started(NamedTuple):
    """A node that is ready: its process, what it reports, and the seconds that it took."""

    pid: int
    facts: dict[str, str]
    seconds: float


@asynccontextmanager
async def started(
    folder: Path, workspace: Workspace, name: str, options: Sequence[str], *, warm: bool
) -> AsyncIterator[Started]:
    """A node at work inside the block. Raises `RunError` when its checkpoint is not as expected."""
    if (folder / name / FILE).exists() != warm:
        raise RunError(f"{name} has {'no' if warm else 'a'} checkpoint")
    async with Processes(folder, os.environ) as processes:
        begun = perf_counter()
        linked = await start_node(processes, folder, workspace, name, options)
        line = await hear(processes, linked)
        yield Started(linked.child.pid, msgspec.json.decode(line, type=dict[str, str]), perf_counter() - begun)
        linked.writer.close()


async def measure(folder: Path, transactions: int) -> list[Outcome]:
    """Returns what was measured of the SN and the SL. Raises `RunError`, alone or in a group."""
    workspace = await long_chain(folder, transactions)
    counts = [len(transaction_ids(raw)) for raw in iterate_chain_file(folder / SN / CHAIN_FILE)]

    def outcome(name: str, cold: Started, warm: Started) -> Outcome:
        rss_mb = resident_bytes(warm.pid) / MEGABYTE
        return Outcome(name, len(counts), sum(counts), round(cold.seconds, 2), round(warm.seconds, 2), round(rss_mb, 1))

    start = partial(started, folder, workspace)
    sn = ["sn", "--ordering", "local", "--sn-api-port", "0", "--sentinel"]
    async with start(SN, sn, warm=False) as cold_sn:
        pass
    async with start(SN, sn, warm=True) as warm_sn:
        found = [outcome(SN, cold_sn, warm_sn)]
        _, port = split(warm_sn.facts["api"])
        sl = ["sl", "--sn-ip", HOST, "--sn-api-port", str(port), "--sl-fs-port", "0"]
        async with start(SL, sl, warm=False) as cold_sl:
            pass
        async with start(SL, sl, warm=True) as warm_sl:
            return [*found, outcome(SL, cold_sl, warm_sl)]


def table(found: Sequence[Outcome]) -> str:
    """For people."""
    lines = [
        f"{found[0].transactions} transactions in {found[0].blocks} blocks",
        "",
        "        cold s   warm s   RSS MB",
    ]
    lines += [f"  {one.node:5} {one.cold_s:7.1f}  {one.warm_s:7.1f}  {one.rss_mb:7.0f}" for one in found]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=100_000, help="on the chain (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each node instead of a table")
    options = parser.parse_args()
    if options.transactions < 2:
        parser.error("at least 2 transactions are needed: the genesis and a registration")
    found = run_benchmark("bench-start", lambda folder: measure(folder, options.transactions))
    print("\n".join(msgspec.json.encode(one).decode() for one in found) if options.json else table(found))


if __name__ == "__main__":
    main()
