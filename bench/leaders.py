"""The time without a merge after the leader of a round fails: three SLs, each beside its own one of three SNs.

In each round the two others have handed their models over, and the leader is awaited; then it fails. Measured is the
time from then until both others hold the merged model. After that the leader's SL and script are started again.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

import msgspec

from fleet import PARTICIPANT
from launch import HOST, Linked, hear, numbered, start, start_node
from machine import MEGABYTE
from participant import Done
from sns import Sns
from swarmlearning.client.parameters import DEFAULT_CONTRACT
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.network.watching import counting
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.node.follower import Follower
from swarmlearning.supervise.processes import Processes, RunError
from swarmlearning.views.names import node_names

SITES = 3
MIN_PEERS = 2
FAILURE_SECONDS = 150.0
"""Far more than a failure and the return of the site take."""
STUCK_SL = Path(__file__).with_name("stucksl.py")


@dataclass(frozen=True)
class Site:
    """An SL and its participant. `stuck`: while this file exists, merges of the SL do not end."""

    name: str
    sl: Linked
    participant: Linked
    stuck: Path


class Leaders:
    """A training at these SNs, of whose leaders one after another fails. Use as an async context manager."""

    def __init__(self, processes: Processes, folder: Path, sns: Sns) -> None:
        self._processes = processes
        self._folder = folder
        self._sns = sns
        self._follower = Follower(sns.addresses, client_context(sns.client), pin=lambda network_id, name: None)
        self._sites: dict[str, Site] = {}
        self._following = asyncio.ensure_future(self._follower.run())

    async def __aenter__(self) -> Self:
        for name in numbered("SL", SITES):
            await self._start(name)
        await self._whole_round()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for site in self._sites.values():
            await self._end(site)
        self._following.cancel()
        await asyncio.wait([self._following])
        await self._follower.close()

    async def kill_after(self, sn: str) -> float:
        """SIGKILL of this SN and, once the ledger records it as gone, of a leader; seconds from the latter on."""
        await self._sns.kill(sn)
        await self._until(lambda chain: sn not in _counting(chain))
        seconds = await self.kill()
        await self._sns.start(sn)
        await self._sns.until_all_order()
        await self._until(lambda chain: sn in _counting(chain))
        return seconds

    async def kill(self) -> float:
        """SIGKILL of a leader's SL and script."""
        return await self._fail(self._end)

    async def freeze(self) -> float:
        """SIGSTOP of a leader's SL and script, as on a machine that hangs: their connections stay open."""
        return await self._fail(_freeze)

    async def hang(self) -> float:
        """A leader's merge does not end, while its SL is well in all else."""
        return await self._fail(_hang)

    async def _fail(self, strike: Callable[[Site], Awaitable[None]]) -> float:
        async with asyncio.timeout(FAILURE_SECONDS):
            leader = self._sites[self._leader()]
            others = [site for site in self._sites.values() if site is not leader]
            _begin(others)
            await self._until(lambda chain: len(_submitted(chain)) == len(others))
            if leader is not self._sites[self._leader()]:
                raise RunError("the leader of a round has changed before it failed")
            began = monotonic()
            await strike(leader)
            merged = max([(await self._done(site)).end for site in others])
            await self._end(leader)
            await self._start(leader.name)
            await self._whole_round()
        return merged - began

    async def _whole_round(self) -> None:
        _begin(self._sites.values())
        for site in self._sites.values():
            await self._done(site)

    async def _done(self, site: Site) -> Done:
        return msgspec.json.decode(await hear(self._processes, site.participant), type=Done)

    async def _start(self, name: str) -> None:
        """Starts a site, or starts it again."""
        number = int(name.rpartition("-")[2])
        stuck = self._folder / f"{name}-is-stuck"
        stuck.unlink(missing_ok=True)
        api = self._sns.addresses[(number - 1) % len(self._sns.addresses)]
        options = ["sl", "--sn-ip", HOST, "--sn-api-port", api.rpartition(":")[2], "--sl-fs-port", "0"]
        command = [sys.executable, str(STUCK_SL), str(stuck)]
        sl = await start_node(self._processes, self._folder, self._sns.workspace, name, options, command)
        channel = msgspec.json.decode(await hear(self._processes, sl))["channel"]
        model = ["--peers", str(MIN_PEERS), "--size", str(MEGABYTE), "--seed", str(number)]
        participant = await start(self._processes, f"ML-{number}", [*PARTICIPANT, *model, "--channel", channel])
        await hear(self._processes, participant)
        self._sites[name] = Site(name, sl, participant, stuck)

    async def _end(self, site: Site) -> None:
        for linked in (site.sl, site.participant):
            await self._processes.sacrifice(linked.child)
            linked.writer.close()

    def _leader(self) -> str:
        """The name of the SL that leads the round in progress."""
        current = _training(self._follower.chain).round
        if current is None:
            raise RunError("no round is in progress")
        return node_names(self._follower.chain.world)[current.leader]

    async def _until(self, reached: Callable[[Chain], bool]) -> None:
        async with asyncio.timeout(FAILURE_SECONDS), aclosing(self._follower.chains()) as chains:
            async for chain in chains:
                if reached(chain):
                    return


def _begin(sites: Iterable[Site]) -> None:
    for site in sites:
        site.participant.writer.write(b"begin\n")


async def _freeze(site: Site) -> None:
    for linked in (site.sl, site.participant):
        os.killpg(linked.child.pid, signal.SIGSTOP)


async def _hang(site: Site) -> None:
    site.stuck.touch()
    _begin([site])


def _training(chain: Chain) -> Training:
    return state_of(chain.world, DEFAULT_CONTRACT)


def _submitted(chain: Chain) -> Collection[str]:
    current = _training(chain).round
    return current.submissions if current else ()


def _counting(chain: Chain) -> set[str]:
    return {sn.name for sn in counting(chain.world)}
