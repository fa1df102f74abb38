"""Collects logs into one archive, as a job: a line for each node and host, and one for the archive itself.

Nodes are asked over the SNs, as `swarm logs collect` does; each site decides what it gives, and the rest is named. What
lies on hosts that the UI logs in to is read there, also where no SN answers.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from swarmlearning import __version__
from swarmlearning.collect.archive import Archive
from swarmlearning.collect.content import Content, Source
from swarmlearning.collect.files import add_data, add_text, as_json
from swarmlearning.collect.index import page
from swarmlearning.collect.network import Asking, add_ledger, add_node, nodes_to_ask
from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.node.facts import cleaned, host_facts
from swarmlearning.node.logfile import log_in
from swarmlearning.node.secrets import known_secrets
from swarmlearning.operator.session import Operator
from swarmlearning.redaction import redacted
from swarmlearning.ui.diagnostics.archives import SUFFIX, Archives
from swarmlearning.ui.diagnostics.hostlogs import add_host
from swarmlearning.ui.hosts.progress import HostsJob, Tell, Work
from swarmlearning.ui.hosts.works import Target
from swarmlearning.ui.network.feed import Feed
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.sizes import size_text

AT_ONCE: Final = 5
"""The archive itself, and four nodes or hosts."""
HOST_SECONDS: Final = 300.0
NODE_SECONDS: Final = 900.0
LEDGER_SECONDS: Final = 180.0
MB: Final = 10**6
MOST_MB: Final = 100
LONGEST: Final = 500


@dataclass(frozen=True)
class Wish:
    """The nodes (UIDs; none: all), from when on their logs (Unix milliseconds; None: the newest lines), and how many
    bytes of each node. `hosts`: those that are logged in to, by address."""

    nodes: Collection[str] = ()
    since_ms: int | None = None
    node_bytes: int = 20 * MB
    hosts: Mapping[str, Target] = field(default_factory=dict)


class Collector:
    """Makes one archive; `name` is that of its file, once the job has ended well."""

    def __init__(self, feed: Feed, archives: Archives, folder: Path, wish: Wish) -> None:
        """`folder`: the UI's own, with its log. Raises `UserError` for nodes that there are not."""
        identity = feed.identity
        own = (identity.key_path, identity.passphrase_path) if identity is not None else ()
        known = known_secrets(os.environ, [each for each in own if each])
        self._feed = feed
        self._archives = archives
        self._folder = folder
        self._asking = Asking((), wish.node_bytes, wish.since_ms, known)
        self._nodes = nodes_to_ask(feed.chain.world, wish.nodes) if feed.chain.height >= 0 else []
        self._hosts = wish.hosts
        self._left = len(self._nodes) + len(self._hosts)
        self._path = archives.new(feed.network_name or "network")
        self._sources: dict[int, Source] = {}
        self._all = asyncio.Event()
        self._begun: asyncio.Future[Archive] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        """The archive's file."""
        return self._path.name

    def job(self) -> HostsJob:
        """The work: on the archive (the host without a name), on each node, and on each host."""
        names = node_names(self._feed.chain.world) if self._nodes else {}
        works: dict[str, Work] = {"": self._make}
        for number, node in enumerate(self._nodes, start=1):
            works[f"{displayed(node.type)} {name_of(names, node.uid)}"] = partial(self._ask, number, node)
        for number, (address, target) in enumerate(self._hosts.items(), start=1):
            works[address] = partial(self._look, number, address, target)
        return HostsJob(works, AT_ONCE, silent=None)

    async def _make(self, _tell: Tell) -> str:
        try:
            return await self._made()
        except UserError as error:
            if not self._begun.done():
                self._begun.set_exception(error)
                self._begun.exception()  # where there is no node, nobody else looks at it
            raise

    async def _made(self) -> str:
        root = self._path.name.removesuffix(SUFFIX)
        made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        content = Content(f"Swarm logs: {self._feed.network_name or root}", made, {"made by": f"SLM-UI {__version__}"})
        with Archive(self._path, root) as archive:
            await self._add_ledger(archive, content)
            self._begun.set_result(archive)
            if self._left:
                await self._all.wait()
            content.sources += [self._sources[number] for number in sorted(self._sources)]
            content.sources.append(await asyncio.to_thread(self._own, archive))
            await asyncio.to_thread(archive.add, "summary.json", as_json(content.summary()))
            await asyncio.to_thread(archive.add, "index.html", page(content))
        removed = await asyncio.to_thread(self._archives.bound)
        text = f"{self._path.name}, {size_text(self._path.stat().st_size)}"
        lacking = [f"{what}: {why}" for what, why in content.missing.items()]
        older = [f"{len(removed)} older archives are removed"] if removed else []
        return ". ".join([text, *(f"Not in it: {each}" for each in lacking), *older])

    async def _add_ledger(self, archive: Archive, content: Content) -> None:
        async def add(operator: Operator) -> None:
            chain = await operator.refresh()
            await _become_known(operator)
            await add_ledger(archive, content, operator, chain)

        try:
            await self._feed.use(add, LEDGER_SECONDS)
        except UserError as error:
            content.missing["the ledger"] = displayed(str(error), LONGEST)

    async def _ask(self, number: int, node: Node, _tell: Tell) -> str:
        """What a node gives, over the SNs."""

        async def ask(archive: Archive) -> Source:
            async def add(operator: Operator) -> Source:
                await _become_known(operator)
                return await add_node(archive, operator, node, number, self._asking)

            return await self._feed.use(add, NODE_SECONDS)

        return await self._from(number, Source(displayed(node.name), {"type": displayed(node.type)}), ask)

    async def _look(self, number: int, address: str, target: Target, _tell: Tell) -> str:
        """What lies on a host."""

        async def look(archive: Archive) -> Source:
            try:
                async with asyncio.timeout(HOST_SECONDS):
                    return await add_host(archive, target, number, address, self._asking)
            except TimeoutError:
                raise UserError(f"it has not answered within {HOST_SECONDS:.0f} s") from None

        return await self._from(len(self._nodes) + number, Source(address, {"type": "host"}), look)

    async def _from(self, place: int, source: Source, add: Callable[[Archive], Awaitable[Source]]) -> str:
        """Adds what one gives; `source` stands for it where it gives nothing."""
        try:
            source = await add(await asyncio.shield(self._begun))
        except UserError as error:
            source.missing["all of it"] = displayed(str(error), LONGEST)
        finally:
            self._sources[place] = source
            self._left -= 1
            if not self._left:
                self._all.set()
        return _told(source)

    def _own(self, archive: Archive) -> Source:
        """What the UI has of itself: its machine, its log, and what the SNs have stated last."""
        known = frozenset(self._asking.known)
        source = Source("SLM-UI", {"type": "UI", "release": __version__})
        add_data(archive, source, "ui/host.json", cleaned(host_facts(), known))
        seen: Any = self._feed.seen.found
        add_data(archive, source, "ui/seen.json", {"status": seen, "trouble": str(self._feed.trouble or "")})
        try:
            with log_in(self._folder).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - self._asking.node_bytes))
                text = file.read(self._asking.node_bytes).decode(errors="replace")
            add_text(archive, source, "ui/ui.log", redacted(text, known))
        except OSError as error:
            source.missing["ui.log"] = str(error.strerror)
        return source


async def _become_known(operator: Operator) -> None:
    """Nodes answer only those whom the ledger knows."""
    if not operator.known:
        await operator.register()


def _told(source: Source) -> str:
    """What came of one node, in a line."""
    size = sum(each.size for each in source.entries)
    reasons = dict[str, list[str]]()
    for what, why in source.missing.items():
        reasons.setdefault(why, []).append(what)
    not_given = [f"{' and '.join(what)}: {why}" for why, what in reasons.items()]
    files = f"{len(source.entries)} file{'s' * (len(source.entries) != 1)}, {size_text(size)}"
    return ". ".join([files, *(f"Not given: {each}" for each in not_given)])
