"""hivemind's all-reduce on the links of a row, where it is installed: `make bench-links` tries to."""

import asyncio
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from launch import Linked, hear, numbered, start
from linkrow import MEGABYTE, Row
from linkswarm import Network
from swarmlearning.supervise.processes import Processes

PYTHON = Path(__file__).parent.parent / ".tools" / "hivemind" / "bin" / "python"
SITE = str(Path(__file__).with_name("hivemindsite.py"))
START_SECONDS = 180.0


def lacking(row: Row) -> str:
    """Why hivemind cannot be measured in this row; empty where it can."""
    if row.method != "mean" or row.kill:
        return "it averages, and nobody is killed"
    if not PYTHON.exists():
        return "it is not installed: make bench-links does so where a package index can be reached"
    return ""


async def hivemind_seconds(made: Network, folder: Path, row: Row, rounds: int) -> float:
    """Median time of a round, its matchmaking included, after a first one. Raises `RunError`, alone or in a group, and
    `TimeoutError`."""
    async with (
        asyncio.timeout(START_SECONDS + 3 * (rounds + 1) * row.star_limit_s),
        Processes(folder, os.environ) as processes,
    ):
        model = ["--peers", str(row.nodes), "--size", str(row.mb * MEGABYTE)]

        async def site(host: int, name: str) -> Linked:
            options = [*model, "--host", made.hosts.address(host)]
            return await start(processes, name, [*made.hosts.command(host), str(PYTHON), SITE, *options])

        names = numbered("hivemind", row.nodes)
        sites = await asyncio.gather(*(site(host, name) for host, name in enumerate(names, start=1)))
        known: list[str] = []
        for linked in sites:
            linked.writer.write(msgspec.json.encode(known) + b"\n")
            known.append((await hear(processes, linked)).decode().strip())
        times = [await _round(processes, sites) for _ in range(rounds + 1)]
        for linked in sites:
            linked.writer.close()
    return statistics.median(times[1:])


async def _round(processes: Processes, sites: Sequence[Linked]) -> float:
    for site in sites:
        site.writer.write(b"begin\n")
    lines = [await hear(processes, site) for site in sites]
    done = [msgspec.json.decode(line, type=tuple[float, float]) for line in lines]
    return max(end for _, end in done) - min(begin for begin, _ in done)
