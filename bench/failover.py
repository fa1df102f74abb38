"""The time without commits after an SN dies: three SNs with etcd, the one that founded the network is killed.

Before each kill that SN (the sentinel) is made the leader of etcd's cluster, so that its death costs an election, too.
Clients at the two others send one transaction after another all the time. Measured is the time from SIGKILL until the
first transaction that was sent after it is on the chain. Then the SN is started again, and has to vote and to have
every block before it is killed again. All processes run on this machine.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec

from clients import Client, clients
from machine import require_etcd, run_benchmark
from sns import Sns
from swarmlearning.supervise.processes import Processes

SNS = 3
KILL_SECONDS = 120.0
"""Far more than a kill and the return of the SN take."""
PAUSE_SECONDS = 0.01


class Outcome(msgspec.Struct, frozen=True):
    """The measurements; the line that `--json` prints."""

    kills: int
    median_s: float
    max_s: float


class Traffic:
    """Records what the clients at the survivors get committed."""

    def __init__(self) -> None:
        self._killed = float("inf")
        self._commit: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def keep_sending(self, client: Client) -> None:
        """One transaction after another, until cancelled."""
        while True:
            sent = perf_counter()
            await client.commit()
            if sent >= self._killed and not self._commit.done():
                self._commit.set_result(perf_counter() - self._killed)
            await asyncio.sleep(PAUSE_SECONDS)

    async def standstill(self) -> float:
        """Seconds from now until the first transaction is on the chain that is sent from now on."""
        self._commit = asyncio.get_running_loop().create_future()
        self._killed = perf_counter()
        return await self._commit


async def measure(folder: Path, kills: int) -> list[float]:
    """The standstill after each kill, in seconds. Raises `RunError`, alone or in a group."""
    async with Processes(folder, os.environ) as processes:
        sns = Sns(processes, folder, SNS, "etcd")
        await sns.found()
        async with clients(sns.client, sns.addresses[1:], SNS - 1, "sender") as senders, asyncio.TaskGroup() as tasks:
            traffic = Traffic()
            sending = [tasks.create_task(traffic.keep_sending(client)) for client in senders]
            found = [await _kill(sns, traffic) for _ in range(kills)]
            for task in sending:
                task.cancel()
    return found


async def _kill(sns: Sns, traffic: Traffic) -> float:
    sentinel = sns.names[0]
    async with asyncio.timeout(KILL_SECONDS):
        await sns.let_lead(sentinel)
        standstill = asyncio.create_task(traffic.standstill())
        await asyncio.sleep(0)  # its clock runs
        await sns.kill(sentinel)
        seconds = await standstill
        await sns.start(sentinel)
        await sns.until_all_order()
    return seconds


def table(outcome: Outcome, found: Sequence[float]) -> str:
    """For people."""
    return "\n".join(
        [
            f"{SNS} SN with etcd; the sentinel, which leads etcd, killed {outcome.kills} times",
            "",
            f"  next commit, median {outcome.median_s:8.2f} s",
            f"               max    {outcome.max_s:8.2f} s",
            "  each                " + ", ".join(f"{seconds:.2f}" for seconds in found),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="how often the sentinel is killed (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error("at least 1 kill is needed")
    require_etcd("bench-failover")
    found = run_benchmark("bench-failover", lambda folder: measure(folder, options.kills))
    outcome = Outcome(options.kills, round(statistics.median(found), 3), round(max(found), 3))
    print(msgspec.json.encode(outcome).decode() if options.json else table(outcome, found))


if __name__ == "__main__":
    main()
