"""A swarm on this machine whose processes can be killed, frozen and started again, and whose network can fail."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmlearning.cli.chaos.relay import Line, Relay, owner
from swarmlearning.cli.launcher import SiteProcesses, only
from swarmlearning.cli.nodecommands import script_environment, sl_command, sn_command
from swarmlearning.cli.runfolder import OBSERVER, RunFolder, site_names
from swarmlearning.identity.tls import client_context
from swarmlearning.node.follower import Follower
from swarmlearning.supervise.processes import Child, Processes
from swarmlearning.supervise.readiness import SlFacts, SnFacts, start_node


class Part:
    """A process of the swarm, and the command that starts it."""

    def __init__(self, processes: Processes, start: Callable[[], Awaitable[Child]]) -> None:
        self._processes = processes
        self._start = start
        self.child: Child | None = None

    async def start(self) -> None:
        """Starts it, for the first time or again, with the same data."""
        self.child = await self._start()

    async def kill(self) -> None:
        """Ends it as a power failure would."""
        if self.child is not None:
            await self._processes.sacrifice(self.child)

    def freeze(self) -> None:
        """Stops it as a machine that hangs: connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resumes it."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)


@dataclass
class Site:
    """An SL and a script. `line` is its connection to the others, `channel` the socket between the two."""

    name: str
    sl: Part
    ml: Part
    line: Line
    folder: Path
    channel: str = ""

    def model(self, digest: str) -> Path:
        """The file in which its SL keeps a model."""
        return self.folder / "models" / f"{digest}.safetensors"


class ChaosSwarm:
    """Use as an async context manager, inside that of `processes`: everything runs inside the block.

    All nodes find the SN through a relay, which keeps its address when the SN is started again. With `on_the_network`
    the sites reach each other through relays too, which costs some speed.
    """

    def __init__(
        self, processes: Processes, folder: RunFolder, command: Sequence[str], count: int, *, on_the_network: bool
    ) -> None:
        self.sn = Part(processes, self._start_sn)
        self.sites = [self._site(processes, folder, index, name) for index, name in enumerate(site_names(count))]
        self.follower: Follower
        self.folder = folder
        self._processes = processes
        self._command = command
        self._count = count
        self._network = ""
        who_dials = self._who_dials if on_the_network else None
        self._sn_relay = Relay(who_dials=who_dials)
        self._relays = [Relay(site.line, who_dials) for site in self.sites] if on_the_network else []
        self._sn_address = ""
        self._services: list[str] = []
        self._stack = AsyncExitStack()

    @property
    def running(self) -> list[SiteProcesses]:
        """The processes of each site as they run now."""
        return [
            SiteProcesses(site.name, site.sl.child, site.ml.child)
            for site in self.sites
            if site.sl.child and site.ml.child
        ]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for relay in (self._sn_relay, *self._relays):
                stack.push_async_callback(relay.stop)
            self._sn_address = await self._sn_relay.start()
            self._services = [await relay.start() for relay in self._relays]
            await self.sn.start()
            tls = client_context(self.folder.identity.identity(OBSERVER))
            self.follower = Follower([self._sn_address], tls, only(self._network))
            stack.push_async_callback(self.follower.close)
            self._processes.next_wave()
            await asyncio.gather(*(site.sl.start() for site in self.sites))
            self._processes.next_wave()
            for site in self.sites:
                await site.ml.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in (self.sn, *(part for site in self.sites for part in (site.sl, site.ml))):
            part.thaw()
        await self._stack.aclose()

    def _site(self, processes: Processes, folder: RunFolder, index: int, name: str) -> Site:
        sl = Part(processes, lambda: self._start_sl(index))
        ml = Part(processes, lambda: self._start_ml(index))
        return Site(name, sl, ml, Line(), folder.site(name))

    async def _start_sn(self) -> Child:
        command = sn_command(self.folder, sn_api_service=self._sn_address)
        node = await start_node(self._processes, "SN-1", command, lasting=True)
        facts = await node.ready(SnFacts)
        self._sn_relay.target, self._network = facts.listens, facts.network
        return node.child

    async def _start_sl(self, index: int) -> Child:
        service = {"sl_fs_service": self._services[index]} if self._services else {}
        command = sl_command(self.folder, index + 1, self._sn_address, **service)
        node = await start_node(self._processes, f"SL-{index + 1}", command)
        self.sites[index].sl.child = node.child  # from now on it dials
        facts = await node.ready(SlFacts)
        self.sites[index].channel = facts.channel
        if self._relays:
            self._relays[index].target = facts.fs
        return node.child

    async def _start_ml(self, index: int) -> Child:
        site = self.sites[index]
        variables = {
            **script_environment(self.folder, index, self._count),
            "MIN_PEERS": str(max(1, self._count - 1)),
            "SWARM_CHANNEL": site.channel,
        }
        return await self._processes.start(site.name, self._command, variables)

    def _who_dials(self, port: int) -> Line | None:
        lines = {site.sl.child.pid: site.line for site in self.sites if site.sl.child}
        found = owner(port, list(lines))
        return None if found is None else lines[found]
