"""The set-up at work: its state is kept, this machine is looked at beside the pages, and its parts become a job."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.invitations.code import JoinCode
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.hosts.bundle import Bundle
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.founding import Founder, Open, api_of
from swarmlearning.ui.hosts.layout import DEFAULT_PREFIX, Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.nodes import how_for
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import HostsJob, Tell
from swarmlearning.ui.hosts.running import NodeState, start, states, stop
from swarmlearning.ui.hosts.seeing import see
from swarmlearning.ui.hosts.works import Target
from swarmlearning.ui.network.feed import Feed
from swarmlearning.ui.network.news import News
from swarmlearning.ui.setup import identity
from swarmlearning.ui.setup.joining import joined
from swarmlearning.ui.setup.state import SETTING, THIS, Existing, Setup, founding, read_setup
from swarmlearning.ui.store.settings import Settings

logger = logging.getLogger("swarm.ui")
LOOK_MS: Final = 30_000
"""How old a look at this machine may be before there is another one."""
FIRST_SECONDS: Final = 1.5

Change: TypeAlias = Callable[[Setup], Setup]


class Stage:
    """What the pages of the set-up work with. `folder`: of the UI."""

    def __init__(self, folder: Path, kept: Settings) -> None:
        self.folder = folder
        self._kept = kept
        self._changing = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._looked_ms = 0
        self.facts: Facts | None = None
        """What this machine is; None until somebody has looked."""
        self.fault = ""
        """Why the last look has found nothing."""
        self.nodes: tuple[NodeState, ...] = ()
        """The nodes of this machine, as the last look has found them."""

    # --- what is decided ---------------------------------------------------------------------------------------------

    async def setup(self) -> Setup:
        """The decisions so far."""
        return read_setup(await self._kept.get(SETTING))

    async def change(self, change: Change) -> Setup:
        """Keeps what `change` makes of the decisions. Raises what that raises."""
        async with self._changing:
            changed = change(await self.setup())
            await self._kept.set(SETTING, msgspec.json.encode(changed).decode())
        return changed

    def there(self, setup: Setup) -> Existing:
        """What exists."""
        made = bool(setup.organisation) and identity.authority(self.folder, setup.organisation) is not None
        return Existing(made and identity.files(self.folder, setup.node) is not None, bool(setup.network_id))

    # --- this machine ------------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """The folder that is proposed for this machine's nodes: their keys are no part of the UI's folder."""
        beside = str(self.folder.with_name(f"{self.folder.name}-nodes"))
        try:
            return Layout(beside).prefix
        except UserError:
            return DEFAULT_PREFIX

    def look(self, prefix: str, told: Callable[[], None], *, anew: bool = False) -> None:
        """Looks at this machine beside other work, unless somebody has just done so; `told` is called at the end."""
        if self._looking is not None and not self._looking.done():
            return
        if not anew and clock_ms() - self._looked_ms < LOOK_MS:
            return
        self._looked_ms = clock_ms()
        self._looking = asyncio.create_task(self._look(prefix, told))

    async def _look(self, prefix: str, told: Callable[[], None]) -> None:
        try:
            layout = Layout(prefix)
            self.facts = await probe(LocalMachine(), layout)
            self.nodes = await states(LocalMachine(), layout)
            self.fault = ""
        except UserError as error:
            self.fault = str(error)
        told()

    async def first_look(self) -> None:
        """Waits a moment for the first look, so that a page has what it finds; else it is brought up to date."""
        if self.facts is None and self._looking is not None:
            await asyncio.wait((self._looking,), timeout=FIRST_SECONDS)

    async def look_anew(self, news: News) -> None:
        """The same, at once, where something was changed here."""
        if self._looking is not None:
            await asyncio.wait((self._looking,))
        own = next((each for each in (await self.setup()).hosts if each.name == THIS), None)
        await self._look(own.prefix if own else self.prefix, lambda: news.publish("jobs"))

    async def close(self) -> None:
        """Ends a look in progress."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    # --- work --------------------------------------------------------------------------------------------------------

    def installation(
        self, setup: Setup, opened: identity.Opened, far: Mapping[str, Target], bundle: Bundle | None, feed: Feed
    ) -> HostsJob:
        """The work of making the network, on this machine and those `far` ones. Raises `UserError`."""
        layouts = {each.name: Layout(each.prefix) for each in setup.hosts}

        async def founded(report: Mapping[str, str]) -> None:
            await self._network(feed, setup.node, api_of(report), report.get("network", ""))

        async def finished(host: str, machine: Machine) -> None:
            if (target := far.get(host)) is not None:
                await target.seen(await see(machine, target.layout))

        own = frozenset(each.name for each in setup.hosts if each.name == THIS)
        machines = opening({host: target.open for host, target in far.items()})
        founder = Founder(machines, layouts, bundle, opened.office, opened.authority, own, founded, finished)
        return founder.job(founding(setup))

    async def installed(self) -> None:
        """All of it is there."""
        await self.change(lambda setup: msgspec.structs.replace(setup, done=True))

    def joining(self, code: JoinCode, feed: Feed) -> HostsJob:
        """The work of joining a network that runs."""

        async def work(tell: Tell) -> str:
            sn = await joined(self.folder, code, tell)
            await self._network(feed, code.name, sn, code.network_id)
            await self.installed()
            return code.name

        return HostsJob({THIS: work})

    async def _network(self, feed: Feed, node: str, sn: str, network_id: str) -> None:
        """Remembers the network, and begins to follow it at once, unless the UI follows one already."""

        def found(setup: Setup) -> Setup:
            return msgspec.structs.replace(setup, node=node, sn=sn, network_id=network_id)

        self.follow(await self.change(found), feed)

    def follow(self, setup: Setup, feed: Feed) -> None:
        """Begins to follow the network, if there is one, and the UI does not yet. Raises `IdentityError`."""
        if setup.network_id and not feed.configured:
            feed.configure(setup.sn, identity.source(self.folder, setup.node), setup.network_id)

    def starting(self, setup: Setup, names: list[str]) -> HostsJob:
        """The work of starting nodes of this machine again, such as after it was restarted, in this order."""
        return self._on_nodes(setup, names, _start, "start")

    def stopping(self, setup: Setup, names: list[str]) -> HostsJob:
        """The work of stopping them."""
        return self._on_nodes(setup, names, stop, "stop")

    def _on_nodes(self, setup: Setup, names: list[str], act: "NodeAct", step: str) -> HostsJob:
        layout = Layout(setup.host(THIS).prefix)

        async def work(tell: Tell) -> str:
            machine = LocalMachine()
            for number, name in enumerate(names):
                tell(step, "running", name, number, len(names))
                await act(machine, layout, name)
            tell(step, "done", "", len(names), len(names))
            return ", ".join(names)

        return HostsJob({THIS: work})


NodeAct: TypeAlias = Callable[[Machine, Layout, str], Awaitable[object]]


async def _start(machine: Machine, layout: Layout, name: str) -> None:
    await start(machine, layout, name, how_for(await probe(machine, layout)))


def opening(machines: Mapping[str, Callable[[], AbstractAsyncContextManager[Machine]]]) -> Open:
    """Opens this machine, and those with SSH by what opens each."""

    @asynccontextmanager
    async def opened(host: str) -> AsyncIterator[Machine]:
        if host == THIS:
            yield LocalMachine()
            return
        async with machines[host]() as machine:
            yield machine

    return opened
