"""What people want noted about runs that have not begun: kept here until the ledger has the run, then put there.

A run can be annotated once its first site has opened a session, which may be long after somebody has executed a task.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.world import World
from swarmlearning.node.clocks import clock_ms
from swarmlearning.operator import experiments
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import Operator, sent
from swarmlearning.ui.network.news import News
from swarmlearning.ui.store.settings import Settings
from swarmlearning.views.runs import run_id

logger = logging.getLogger("swarm.ui")
T = TypeVar("T")

KEPT: Final = "notes"
"""The setting that keeps them."""
MOST: Final = 64
LONGEST_MS: Final = 30 * 86_400_000
"""A note for a run that has not begun by then is forgotten."""
AGAIN_SECONDS: Final = 30.0
"""After a note could not be put on the ledger."""
LOOK_SECONDS: Final = 300.0


class Note(msgspec.Struct, frozen=True):
    """The `text` is for this run of the contract, by a `person`; `hidden`: from the lists of one's organisation."""

    contract: str
    run: int
    text: str
    hidden: bool
    person: str
    made_ms: int


class Network(Protocol):
    """What notes need of the network."""

    news: News

    @property
    def chain(self) -> Chain:
        """The verified ledger as far as it is known."""
        ...

    async def use(self, work: Callable[[Operator], Awaitable[T]]) -> T:
        """What `work` returns, with the UI's operator. Raises `UserError`."""
        ...


class Notes:
    """`add` keeps a note; `run`, until cancelled, puts each on the ledger as soon as it has the run."""

    def __init__(self, settings: Settings, network: Network) -> None:
        self._settings = settings
        self._network = network
        self._waiting: list[Note] | None = None
        self._again = 0.0

    async def waiting(self) -> list[Note]:
        """The notes whose runs have not begun."""
        if self._waiting is None:
            try:
                kept = msgspec.json.decode(await self._settings.get(KEPT, "[]"), type=list[Note])
            except msgspec.DecodeError:
                kept = []
            if self._waiting is None:  # nobody has added one meanwhile
                self._waiting = kept
        return self._waiting

    async def add(self, note: Note) -> None:
        """Keeps a note, in place of an earlier one for the same run. Raises `UserError` where too many wait."""
        others = [each for each in await self.waiting() if (each.contract, each.run) != (note.contract, note.run)]
        if len(others) >= MOST:
            raise UserError(f"{MOST} notes wait for their runs to begin; annotate this run once it has begun")
        await self._keep([*others, note])

    async def run(self) -> None:
        """Looks whenever a training changes."""
        with self._network.news.subscribed("", ["training"]) as subscriber:
            while not self._network.news.closed:
                await subscriber.next(LOOK_SECONDS)
                if await self.waiting() and time.monotonic() >= self._again:
                    await self.put()

    async def put(self) -> None:
        """Puts the notes on the ledger whose runs have begun, and forgets those that are too old."""
        oldest = clock_ms() - LONGEST_MS
        for note in list(await self.waiting()):
            try:
                if _begun(self._network.chain.world, note):
                    await self._put(note)
                elif note.made_ms < oldest:
                    await self._replace(note, None)
            except UserError as error:
                logger.warning("the note on run %s is not on the ledger: %s", _named(note), error)
                self._again = time.monotonic() + AGAIN_SECONDS

    async def _put(self, note: Note) -> None:
        """Sends what it says, and forgets each part that the ledger has. Raises `UserError`."""
        if note.text:
            await self._send(note, lambda world: experiments.annotate(world, _named(note), note.text))
        if note.hidden:
            hide = msgspec.structs.replace(note, text="")
            await self._replace(note, hide)
            note = hide
            await self._send(note, lambda world: experiments.hide(world, _named(note), hidden=True))
        await self._replace(note, None)

    async def _send(self, note: Note, compose: Callable[[World], Act]) -> None:
        await self._network.use(lambda operator: sent(operator, compose, note.person))

    async def _replace(self, note: Note, by: Note | None) -> None:
        others = [each for each in await self.waiting() if each != note]
        await self._keep([*others, by] if by else others)

    async def _keep(self, notes: list[Note]) -> None:
        self._waiting = notes
        await self._settings.set(KEPT, msgspec.json.encode(notes).decode())


def _begun(world: World, note: Note) -> bool:
    state = state_of(world, note.contract)
    return state.run > note.run or (state.run == note.run and bool(state.members))


def _named(note: Note) -> str:
    return run_id(note.contract, note.run)
