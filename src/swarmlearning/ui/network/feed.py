"""The network as the UI sees it: its verified ledger, what SNs state of it, and since when that is so.

It runs beside the pages, and no page waits for it: a page shows what is known, and how old it is. An SN that is gone is
left for another one, and what ends the work is shown and tried again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from swarmlearning.backoff import Backoff
from swarmlearning.errors import UserError, first_cause
from swarmlearning.files import make_private
from swarmlearning.identity.certificates import OPERATORS, Role, expires_ms, name_in, role_of
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import WatchedSource
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.access import peer
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts import network
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.commanding import SECONDS
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.asking import Asking, Seen
from swarmlearning.operator.link import Link
from swarmlearning.operator.reading import read_steps
from swarmlearning.operator.session import Operator, acting
from swarmlearning.ui.network.index import Index
from swarmlearning.ui.network.news import News, Topic
from swarmlearning.ui.network.notes import Notes
from swarmlearning.ui.network.records import Records
from swarmlearning.ui.network.verification import Verification
from swarmlearning.ui.store.settings import Settings
from swarmlearning.views.alerts import Alert
from swarmlearning.views.names import displayed
from swarmlearning.views.report import Recorder
from swarmlearning.views.told import alerts_of

logger = logging.getLogger("swarm.ui")
T = TypeVar("T")

PAGE_SECONDS: Final = 5.0
"""A page waits so long for what only an SN has."""
READERS: Final[frozenset[Role]] = OPERATORS | {"OBSERVER"}
KNOWN: Final = "sns"
"""The setting that keeps the addresses of the network's SNs, for a start while the one named is gone."""
MOST_KNOWN: Final = 32
FOLDER: Final = "network"


class Trouble(msgspec.Struct, frozen=True):
    """What keeps the UI from the network, in words that are safe to show, and since when (Unix milliseconds)."""

    since_ms: int
    text: str


class NoNetworkError(UserError):
    """The UI has no certificate yet: there is no network in which it could act."""

    def __init__(self) -> None:
        super().__init__("this UI has no certificate yet, so it belongs to no network: see the page Set-up")


class Feed:
    """`run` until cancelled. What it knows is read at any time; `news` tells of changes; `use` acts."""

    def __init__(self, folder: Path, settings: Settings, address: str, source: WatchedSource | None, network_id: str):
        self._folder = folder / FOLDER
        self._settings = settings
        self._addresses = [address] if address else []
        self._next = 0
        self._source = source
        self._network_id = network_id
        self._link = Link(self._connect)
        self._records: Records | None = None
        self._given = asyncio.Event()
        self._learned = asyncio.Event()
        self.news = News()
        self.verification = Verification(self._verify, self.news)
        self.notes = Notes(settings, self)
        self.seen = Seen()
        self.trouble: Trouble | None = None
        """None while the ledger is followed."""

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def configured(self) -> bool:
        """Whether there is a certificate and an SN to ask."""
        return self._source is not None and bool(self._addresses)

    @property
    def role(self) -> Role | None:
        """The role of the UI's certificate; None without one."""
        return role_of(self._source.current.certificate) if self._source else None

    @property
    def name(self) -> str:
        """The name in the UI's certificate."""
        return name_in(self._source.current.certificate) if self._source else ""

    @property
    def bundle(self) -> str:
        """The UI's certificate with its intermediates (PEM); empty without one."""
        return self._source.current.bundle if self._source else ""

    @property
    def expires_ms(self) -> int | None:
        """When the UI's certificate ends (Unix milliseconds); None without one."""
        return expires_ms(self._source.current.chain) if self._source else None

    @property
    def identity(self) -> Identity | None:
        """The UI's identity; None without one."""
        return self._source.current if self._source else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The SNs that are known, as `host:port`, the one whose turn it is first."""
        at = self._next % len(self._addresses) if self._addresses else 0
        return (*self._addresses[at:], *self._addresses[:at])

    @property
    def organisation(self) -> str:
        """The organisation of the UI's certificate; empty where the ledger does not know it yet."""
        if self._source is None:
            return ""
        return peer(self.chain.world, self._source.current.certificate, self.chain.time_ms).organisation

    @property
    def may_act(self) -> bool:
        """Whether its certificate is one of an operator; an observer's can only look."""
        return self.role in OPERATORS

    @property
    def chain(self) -> Chain:
        """The verified ledger as far as it is known; empty at first."""
        return self.recorder.chain

    @property
    def network_name(self) -> str:
        """The network's name, safe to show; empty while it is not known."""
        return displayed(network.network(self.chain.world).name) if self.chain.height >= 0 else ""

    @property
    def recorder(self) -> Recorder:
        """What the ledger records of all trainings, past ones too."""
        return self._records.recorder if self._records else Recorder()

    @property
    def index(self) -> Index | None:
        """The index of all blocks; None before there is one."""
        return self._records.index if self._records else None

    @property
    def alerts(self) -> list[Alert]:
        """What is wrong in the network, as an SN states it, the worst first."""
        return alerts_of(self.seen.found, self.seen.now_ms()) if self.seen.found else []

    # --- acting -----------------------------------------------------------------------------------------------------

    async def use(self, work: Callable[[Operator], Awaitable[T]], seconds: float = SECONDS) -> T:
        """What `work` returns, with the UI's operator, within so many seconds. Raises `UserError`."""
        if not self.configured:
            raise NoNetworkError
        try:
            async with asyncio.timeout(seconds):
                return await self._link.use(work)
        except TimeoutError:
            raise NodeError(
                f"no SN of the network has done this within {seconds:.0f} s; see on the page Overview which SNs run"
            ) from None

    async def block(self, height: int) -> bytes:
        """A block of the ledger, as an SN sends it: its hash has to be compared with the index. Raises `UserError`."""

        async def fetch(operator: Operator) -> bytes:
            return await operator.client.block(height)

        return await self.use(fetch, PAGE_SECONDS)

    async def _verify(self, add: Callable[[Step], None]) -> None:
        """Gives all blocks of the SN in use, from block 0, each verified anew. Raises `UserError`."""
        assert self._source is not None
        address = await self.use(_address)
        await read_steps(address, self._source.current, self.chain.network_id, add)

    # --- following --------------------------------------------------------------------------------------------------

    def configure(self, address: str, source: WatchedSource, network_id: str = "") -> None:
        """Gives an UI that has no network yet its identity and its first SN; `run` then begins to follow."""
        assert not self.configured
        self._addresses, self._source, self._network_id = [address], source, network_id
        self._given.set()
        self._learned.set()
        self.news.publish("status")

    async def identified(self) -> WatchedSource:
        """The UI's identity, as soon as it has one."""
        if self._source is None:
            await self._given.wait()
        assert self._source is not None
        return self._source

    async def run(self) -> None:
        """Follows the ledger and asks SNs for their status until cancelled; first waits until it is configured."""
        self._addresses += [each for each in await self._kept() if each not in self._addresses]
        if not self.configured:
            await self._given.wait()
        assert self._source is not None
        make_private(self._folder)
        index = await asyncio.to_thread(Index, self._folder)
        self._records = Records(self._folder, index)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._source.watch())
                tasks.create_task(self._follow())
                tasks.create_task(self._ask())
                tasks.create_task(self._remember())
                tasks.create_task(self.verification.run())
                tasks.create_task(self.notes.run())
        finally:
            await self._link.close()
            index.close()

    async def _follow(self) -> None:
        """Keeps a link open, and goes on by another SN when it ends."""
        attempts = Backoff(first=0.5, longest=10.0)
        async for _ in attempts:
            height = self.chain.height
            try:
                await self._link.use(self._watch)
            except Exception as error:
                cause = first_cause(error)
                if not isinstance(cause, UserError):
                    raise
                self._is_troubled(str(cause))
            if self.chain.height > height:
                attempts.reset()
            self._next += 1

    async def _watch(self, operator: Operator) -> None:
        """Until the link ends."""
        self.trouble = None
        self.news.publish("status")

        def never(chain: Chain) -> bool:
            self._learn(network.sn_addresses(chain.world))
            return False

        await operator.until(never)

    def _connect(self) -> AbstractAsyncContextManager[Operator]:
        """An operator at the SN whose turn it is."""
        assert self._source is not None
        assert self._records is not None
        return acting(
            self._addresses[self._next % len(self._addresses)],
            self._source,
            self._folder,
            self._network_id,
            READERS,
            lasting=True,
            checkpoints=self._records,
            seen=self._add,
        )

    def _add(self, step: Step) -> None:
        assert self._records is not None
        self._records.add(step)
        self.news.publish(*_topics(step))

    def _is_troubled(self, text: str) -> None:
        since = self.trouble.since_ms if self.trouble else clock_ms()
        if self.trouble is None or self.trouble.text != text:
            logger.warning("%s; trying again", text)
        self.trouble = Trouble(since, text)
        self.news.publish("status")

    async def _ask(self) -> None:
        """Asks for the status again and again; the first SN that answers is enough."""
        assert self._source is not None
        source = self._source
        turn = 0
        async for _ in Backoff(first=1.0, longest=5.0):
            address = self._addresses[turn % len(self._addresses)]
            asking = Asking(address, lambda: client_context(source.current), self._network_id or self.chain.network_id)
            try:
                async with aclosing(asking.statuses()) as statuses:
                    async for seen in statuses:
                        self._saw(seen)
            except UserError as error:
                logger.info("%s", error)
            turn += 1

    def _saw(self, seen: Seen) -> None:
        before, self.seen = self.seen, seen
        topics: list[Topic] = []
        if (before.found or {}).get("nodes") != (seen.found or {}).get("nodes") or before.outage != seen.outage:
            topics.append("status")
        if (before.found or {}).get("alerts") != (seen.found or {}).get("alerts"):
            topics.append("alerts")
        self.news.publish(*topics)

    # --- SNs --------------------------------------------------------------------------------------------------------

    async def _kept(self) -> list[str]:
        try:
            return msgspec.json.decode(await self._settings.get(KNOWN, "[]"), type=list[str])
        except msgspec.DecodeError:
            return []

    def _learn(self, found: Sequence[str]) -> None:
        if new := [each for each in found if each not in self._addresses]:
            self._addresses = [*self._addresses, *new][:MOST_KNOWN]
            self._learned.set()

    async def _remember(self) -> None:
        """Keeps the addresses that have been learned."""
        while True:
            await self._learned.wait()
            self._learned.clear()
            await self._settings.set(KNOWN, msgspec.json.encode(self._addresses).decode())


async def _address(operator: Operator) -> str:
    return operator.client.address


_TOPICS: Final[dict[str, tuple[Topic, ...]]] = {
    "training": ("training", "experiments"),
    "tasks": ("tasks",),
    "taskrunner": ("tasks",),
    "network": ("nodes", "organisations"),
}


def _topics(step: Step) -> set[Topic]:
    """What a block changes, by the kinds of contracts that its transactions are for."""
    found: set[Topic] = {"ledger"}
    for signed in step.block.transactions:
        room = type(signed.content.body).__module__.split(".")
        kind = room[room.index("contracts") + 1] if "contracts" in room else ""
        found.update(_TOPICS.get(kind, ("experiments",)))
    return found
