"""The time without commits after an SN dies: three SNs with etcd, the one that founded the network is killed.

Before each kill that SN (the sentinel) is made the leader of etcd's cluster, so that its death costs an election, too.
Clients at the two others send one transaction after another all the time. Measured is the time from SIGKILL until the
first transaction that was sent after it is on the chain. Then the SN is started again, and has to vote and to have
every block before it is killed again.
"""

import asyncio
from time import perf_counter

from clients import Client, clients
from sns import Sns

KILL_SECONDS = 120.0
"""Far more than a kill and the return of the SN take."""
PAUSE_SECONDS = 0.01


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


async def standstills(sns: Sns, kills: int) -> list[float]:
    """The standstill after each kill of the sentinel, in seconds. Raises `RunError`, alone or in a group."""
    senders = len(sns.names) - 1
    async with clients(sns.client, sns.addresses[1:], senders, "sender") as survivors, asyncio.TaskGroup() as tasks:
        traffic = Traffic()
        sending = [tasks.create_task(traffic.keep_sending(client)) for client in survivors]
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
