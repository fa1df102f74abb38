"""The speed of the ledger: the time to commit one transaction, and many clients' transactions a second.

First for one SN that orders alone, then for three with etcd, all on this machine: real processes, mutual TLS, every
write on the disk before it is acknowledged. *Latency* is that of a lone transaction, signing included: the next is sent
when all SNs have verified and stored the last one. In between the floor is measured (see `commitfloor.py`).
*Throughput* is that of clients that each send their next transaction when the last one is on the
chain. They share out over the SNs, sign as they go, and live in this one process, on the same cores as the SNs: on real
sites there is more room.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Coroutine, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import msgspec

from clients import clients
from commitfloor import etcd_floor, signature_seconds, sqlite_floor
from machine import busy_seconds, cpu_seconds, require_etcd, run_benchmark
from sns import Ordering, Sns
from swarmlearning.supervise.processes import Processes
from swarmlearning.transport.loop import run

WARM_UP = 20
LIMIT_SECONDS = 300.0
T = TypeVar("T")

SNS: dict[Ordering, int] = {"local": 1, "etcd": 3}


class Outcome(msgspec.Struct, frozen=True):
    """The measurements of one ordering engine; the line that `--json` prints."""

    ordering: Ordering
    sns: int
    p50_s: float
    p99_s: float
    floor_p50_s: float
    tps: float


class Measured(msgspec.Struct, frozen=True):
    """An outcome, and what only the table shows: how the throughput came about, and what it cost.

    `cpu_us`: CPU microseconds a transaction, by process; `other_cores`: how many cores worked for others meanwhile.
    """

    outcome: Outcome
    block_bytes: int
    transactions_a_block: float
    cpu_us: dict[str, float]
    other_cores: float


class Latency(msgspec.Struct, frozen=True):
    """Sorted seconds of lone commits and of their floors, and the size of such a block."""

    commits: list[float]
    floors: list[float]
    block_bytes: int


class Throughput(msgspec.Struct, frozen=True):
    """See `Outcome` and `Measured`."""

    tps: float
    transactions_a_block: float
    cpu_us: dict[str, float]
    other_cores: float


async def measure(folder: Path, samples: int, senders: int, seconds: float) -> list[Measured]:
    """Both engines, one after the other. Raises `RunError`, alone or in a group."""
    return [await _measure(folder / ordering, ordering, samples, senders, seconds) for ordering in SNS]


async def _measure(folder: Path, ordering: Ordering, samples: int, senders: int, seconds: float) -> Measured:
    async with Processes(folder, os.environ) as processes:
        sns = Sns(processes, folder, SNS[ordering], ordering)
        await sns.found()
        latency = await _as_a_node(_latency(sns, folder, ordering, samples))
        throughput = await _as_a_node(_throughput(sns, senders, seconds))
    return Measured(
        Outcome(
            ordering=ordering,
            sns=len(sns.names),
            p50_s=round(statistics.median(latency.commits), 6),
            p99_s=round(latency.commits[int(0.99 * samples)], 6),
            floor_p50_s=round(statistics.median(latency.floors), 6),
            tps=round(throughput.tps, 1),
        ),
        latency.block_bytes,
        throughput.transactions_a_block,
        throughput.cpu_us,
        throughput.other_cores,
    )


async def _as_a_node(work: Coroutine[Any, Any, T]) -> T:
    """On an event loop such as nodes run on, which cannot start processes as a benchmark does."""

    async def limited() -> T:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await work

    return await asyncio.to_thread(run, limited())


async def _latency(sns: Sns, folder: Path, ordering: Ordering, samples: int) -> Latency:
    async with (
        clients(sns.client, sns.addresses[:1], 1, "one") as (one,),
        clients(sns.client, sns.addresses, len(sns.names), "watching") as watching,
        etcd_floor(sns) if ordering == "etcd" else sqlite_floor(folder / "floor.sqlite") as floor,
    ):
        everywhere = [client.sn for client in watching]
        block = await one.sn.block(await one.commit())
        commits, floors = [], []
        for sample in range(WARM_UP + samples):
            begin = perf_counter()
            height = await one.commit()
            commit = perf_counter() - begin
            await asyncio.gather(*(sn.state(height) for sn in everywhere))
            durable = await floor(block)
            if sample >= WARM_UP:
                commits.append(commit)
                floors.append(durable + signature_seconds(sns.client, block))
    return Latency(sorted(commits), sorted(floors), len(block))


async def _throughput(sns: Sns, senders: int, seconds: float) -> Throughput:
    async with clients(sns.client, sns.addresses, senders, "many") as many:
        await asyncio.gather(*(client.commit() for client in many))
        first = await many[0].commit()
        spent, busy, begin = _spent(sns), busy_seconds(), perf_counter()
        counts = await asyncio.gather(*(client.commit_until(begin + seconds) for client in many))
        took = perf_counter() - begin
        used = {name: after - spent[name] for name, after in _spent(sns).items()}
        others = (busy_seconds() - busy - sum(used.values())) / took
        blocks = await many[0].commit() - first - 1
    count = sum(counts)
    cpu_us = {name: 1e6 * value / count for name, value in used.items()}
    return Throughput(count / took, count / blocks, cpu_us, max(0.0, others))


def _spent(sns: Sns) -> dict[str, float]:
    return sns.cpu_seconds() | {"clients": cpu_seconds(os.getpid())}


def table(found: Sequence[Measured]) -> str:
    """For people."""
    return "\n\n".join(map(_section, found))


def _section(measured: Measured) -> str:
    outcome = measured.outcome
    ratio = outcome.p50_s / outcome.floor_p50_s
    lines = [
        f"{outcome.sns} SN, ordering {outcome.ordering}" + (" (an fsync each)" if outcome.sns > 1 else " (fsync)"),
        "",
        f"  commit, median   {outcome.p50_s * 1000:10.2f} ms   (a block of {measured.block_bytes} bytes)",
        f"          p99      {outcome.p99_s * 1000:10.2f} ms",
        f"  floor, median    {outcome.floor_p50_s * 1000:10.2f} ms   (the commit takes {ratio:.1f} times as long)",
        "",
        f"  transactions/s   {outcome.tps:10.0f}      ({measured.transactions_a_block:.0f} a block)",
        f"  {'CPU us each':16} "
        + ", ".join(f"{name} {value:.0f}" for name, value in measured.cpu_us.items())
        + f", all {sum(measured.cpu_us.values()):.0f}",
        "",
        f"  Meanwhile other programs kept {measured.other_cores:.1f} of {os.cpu_count()} cores busy.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300, help="lone transactions (default %(default)s)")
    parser.add_argument("--senders", type=int, default=128, help="clients at once (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long they send (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each engine instead of a table")
    options = parser.parse_args()
    if min(options.samples, options.senders) < 1 or options.seconds <= 0:
        parser.error("at least 1 sample, 1 sender and some time are needed")
    require_etcd("bench-ledger")
    found = run_benchmark(
        "bench-ledger", lambda folder: measure(folder, options.samples, options.senders, options.seconds)
    )
    if options.json:
        for measured in found:
            print(msgspec.json.encode(measured.outcome).decode())
    else:
        print(table(found))


if __name__ == "__main__":
    main()
