"""Work of an SL with a real store, threads and another site: nothing waits for what is not needed any more."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from support.network import Ledger
from support.play import Play
from swarmlearning.api.server import Server
from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import encode
from swarmlearning.channel.messages import Open, Sync, TensorSpec
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Charter, Terms, Training, empty
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender
from swarmlearning.rounds.events import (
    Cancel,
    Deliver,
    DeliveryFailed,
    Dropped,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Keep,
    Merge,
    Merged,
    ModelReceived,
    SessionRequested,
)
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl import addresses
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.effects import Effects
from swarmlearning.sl.giving import Giving
from swarmlearning.sl.mlside import MLSide
from swarmlearning.sl.narration import Narrator
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.tasks import Tasks
from swarmlearning.tensors.file import Tensor, write
from swarmlearning.tensors.structure import structure_digest

Identities = dict[str, Identity]

VALUES = 2**16
SPECS = [("w", "F32", (VALUES,))]
CONTRACT = "training"


def file_of(path: Path, value: float) -> Path:
    write(path, {"w": Tensor.of(np.full(VALUES, value, np.float32), "w")})
    return path


class Site:
    """An SL's parts below the driver, and the events that they emit. `other` is what the other site, `b`, holds."""

    def __init__(self, directory: Path, identities: Identities, other: TensorStore, port: int) -> None:
        ledger = Ledger()
        for uid in "ab":
            ledger.join(uid)
        ledger.send("b", Announce({"fs": f"127.0.0.1:{port}"}), network.CONTRACT)
        self.directory, self.other = directory, other
        self.idle = set[asyncio.Task[object]]()
        self.store = TensorStore(directory / "models")
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.tasks = Tasks()
        self.follower = Follower([], client_context(identities["SL-1"]), lambda network, name: None)
        self.follower.chain = ledger.chain
        self.fetcher = Fetcher(client_context(identities["SL-1"]), self.store)
        settings = RoundSettings(True, 30.0, 600.0, "merged")
        self.watch = Stopwatch()
        self.ml = MLSide(directory, 1, settings, self.store, self.events.put_nowait, self.watch)
        sender = Sender(Author(ledger.actors["a"].signer, "a", 1), self.follower, lambda text: None)
        self.effects = Effects(
            self.tasks,
            self.follower,
            sender,
            self.store,
            self.fetcher,
            self.ml,
            Narrator(self.ml.show, True),
            self.events.put_nowait,
            self.watch,
            Giving(self.store, Changes(directory, self.store, Codings(self.store)), None, self.watch),
        )
        self.effects.contract = CONTRACT
        self.ml.model_size = 0
        play = Play("a", "b")
        play.complete_round("a", "b")
        self.see(msgspec.structs.replace(play.state, terms=Terms("mean", 2, structure_digest(SPECS))))

    def see(self, state: Training) -> None:
        """This state is on the chain, and what is done from now on is decided on it."""
        self.show(state)
        self.effects.decided_on = self.follower.chain

    def show(self, state: Training) -> None:
        """This state is on the chain, which has not been considered yet."""
        chain = self.follower.chain
        world = chain.world.with_entries({f"training/{CONTRACT}": msgspec.structs.replace(state, name=CONTRACT)})
        self.follower.chain = replace(chain, world=world)
        self.state = state

    def see_result(self, digest: str) -> None:
        """This is the standing result."""
        assert self.state.result is not None
        self.see(msgspec.structs.replace(self.state, result=msgspec.structs.replace(self.state.result, digest=digest)))

    async def has(self, value: float, store: TensorStore | None = None) -> Submission:
        """A model in a store, here by default, as it is submitted."""
        info = await (store or self.store).adopt(file_of(self.directory / "made", value))
        self.ml.model_size = info.size
        return Submission("a", "trained", info.root, info.size, weight=1, at_ms=0)

    async def event(self) -> Event:
        async with asyncio.timeout(60):
            return await self.events.get()


@pytest.fixture
async def site(tmp_path: Path, identities: Identities) -> AsyncIterator[Site]:
    other = TensorStore(tmp_path / "other")
    server = Server(
        file_app(other, lambda thumb, digest, chunks: True), server_context(identities["SL-2"]), "127.0.0.1", 0
    )
    await server.start()
    made = Site(tmp_path, identities, other, server.port)
    yield made
    await made.tasks.stop()
    await made.fetcher.close()
    await made.ml.channel.stop()
    await server.stop(grace=0.1)


async def test_a_merge_goes_by_the_state_on_which_it_was_decided_whatever_the_chain_shows_since(site: Site) -> None:
    models = [replace_uid(await site.has(number), uid) for number, uid in ((1, "a"), (2, "b"))]
    site.show(empty(CONTRACT, run=2))
    site.effects.perform(Merge(1, 0, "", tuple(models), (), False))
    merged = await site.event()
    assert isinstance(merged, Merged)
    assert [part.uid for part in merged.receipt.contributions] == ["a", "b"]


async def test_a_base_that_is_lost_is_missed_before_changes_of_it_are_merged(site: Site) -> None:
    charter = Charter("org-1", transfer_back="int8")
    site.see(msgspec.structs.replace(site.state, charter=charter))
    models = [replace_uid(await site.has(number), uid) for number, uid in ((1, "a"), (2, "b"))]
    lost = "b" * 64
    site.effects.perform(Merge(1, 0, lost, tuple(models), (), False))
    assert await site.event() == Dropped(lost)


@asynccontextmanager
async def stuck_merge(site: Site) -> AsyncIterator[Merge]:
    """A merge of two models that stands still while it reads, until the block ends."""
    models = [replace_uid(await site.has(number), uid) for number, uid in ((1, "a"), (2, "b"))]
    merge = Merge(1, 0, "", tuple(models), (), False)
    reading, goes_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def on_read(size: int) -> None:
        loop.call_soon_threadsafe(reading.set)
        goes_on.wait(60)

    site.effects._count = on_read  # type: ignore[method-assign,assignment]
    site.effects.perform(merge)
    await reading.wait()
    try:
        yield merge
    finally:
        goes_on.set()


def replace_uid(entry: Submission, uid: str) -> Submission:
    return msgspec.structs.replace(entry, uid=uid)


def node_of(site: Site, uid: str) -> network.Node:
    found = network.node(site.follower.chain.world, uid)
    assert found is not None
    return found


async def kept_of(site: Site, digests: Sequence[str], *needed: str) -> list[bool]:
    """Returns which of the models the store holds once these are needed and all work has ended."""
    site.effects.perform(Keep(needed))
    while running := asyncio.all_tasks() - site.idle:
        await asyncio.wait(running)
    return [site.store.has(digest) for digest in digests]


async def test_models_are_removed_when_one_is_not_needed_any_more_and_not_when_more_are_needed(site: Site) -> None:
    site.idle = asyncio.all_tasks()
    first, second, third = [(await site.has(number)).digest for number in (1, 2, 3)]
    models = (first, second, third)
    assert await kept_of(site, models, first, second) == [True, True, False]  # what an earlier process has left
    await site.has(3)
    assert await kept_of(site, models, first, second, "f" * 64) == [True, True, True]
    assert await kept_of(site, models, second, "f" * 64) == [False, True, False]


async def test_a_model_that_becomes_needed_while_others_are_being_removed_stays(site: Site) -> None:
    site.idle = asyncio.all_tasks()
    first, second = [(await site.has(number)).digest for number in (1, 2)]
    site.effects.perform(Keep((first,)))
    assert await kept_of(site, (first, second), first, second) == [True, True]


async def test_neither_a_fetch_nor_a_delivery_waits_for_a_merge(site: Site) -> None:
    wanted = await site.has(3, site.other)
    await site.ml.channel.start()
    async with stuck_merge(site):
        site.effects.perform(Keep((wanted.digest,)))
        site.effects.perform(Fetch(wanted.digest, ("b",)))
        assert await site.event() == Fetched(wanted.digest)
        opening = Open(
            training_contract=CONTRACT,
            sync_frequency=1,
            min_peers=2,
            merge_method="mean",
            checkin_model_on_train_end="snapshot",
            node_weightage=1,
            use_adaptive_sync=False,
            total_epochs=1,
            ml_platform="PYTORCH",
            structure=tuple(TensorSpec(*spec) for spec in SPECS),
        )
        with connect(site.ml.channel.path) as script:
            script.sendall(encode(opening))
            assert isinstance(await site.event(), SessionRequested)
            file_of(site.ml.channel.file("handed.safetensors"), 4)
            script.sendall(encode(Sync(site.ml.session_id, 1, "handed.safetensors")))
            received = await site.event()
            assert isinstance(received, ModelReceived)
    assert site.store.has(received.digest)


async def test_a_cancelled_merge_ends_without_an_event_and_without_a_result(site: Site) -> None:
    async with stuck_merge(site) as merge:
        site.effects.perform(Cancel(merge))
        await asyncio.sleep(0)
    await site.tasks.stop()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert site.events.empty()
    assert site.store.held() == {entry.digest for entry in merge.submissions}
    assert list((site.directory / "models").glob("*.tmp")) == []


async def test_models_that_are_being_merged_are_not_removed(site: Site) -> None:
    async with stuck_merge(site) as merge:
        await site.store.retain(set())
        assert {entry.digest for entry in merge.submissions} <= site.store.held()
    merged = await site.event()
    assert isinstance(merged, Merged)
    assert site.store.has(merged.result)


async def test_a_node_that_moves_often_is_not_followed_to_every_address(site: Site) -> None:
    """It could make this node find out what answers in its own network."""
    for number in range(2 * addresses.MOST):
        moved = msgspec.structs.replace(node_of(site, "b"), addresses={"fs": f"127.0.0.1:{number + 1}"})
        chain = site.follower.chain
        site.follower.chain = replace(chain, world=chain.world.with_entries({"node/b": moved}))
        assert len(site.effects.sources(("b",))) == (number < addresses.MOST)


async def test_a_cancelled_fetch_is_resumed_or_removed_and_no_failure_of_this_node(site: Site) -> None:
    wanted = await site.has(3, site.other)
    for _ in range(20):
        site.effects.perform(fetch := Fetch(wanted.digest, ("b",)))
        await asyncio.sleep(0)
        site.effects.perform(Cancel(fetch))
        await site.store.retain(set())
    site.effects.perform(Fetch(wanted.digest, ("b",)))
    assert await site.event() == Fetched(wanted.digest)
    assert site.store.has(wanted.digest)


async def test_a_result_that_cannot_be_trained_on_is_rejected_whoever_serves_it(site: Site) -> None:
    """It is fetched once only, and not delivered."""
    own, bad = await site.has(1), await site.has(np.nan, site.other)
    site.ml.model = own.digest
    site.see_result(bad.digest)
    for _ in range(2):
        site.effects.perform(Fetch(bad.digest, ("b",)))
        assert await site.event() == FetchFailed(bad.digest, "tensor 'w' has NaN or infinity", "invalid")
        assert not site.store.has(bad.digest)
        await site.other.retain(set())  # a second request would fail otherwise


async def test_a_bad_result_that_is_held_already_is_not_delivered(site: Site) -> None:
    """As another site's model that a leader calls the result."""
    own, bad = await site.has(1), await site.has(np.inf)
    site.ml.model = own.digest
    site.see_result(bad.digest)
    site.effects.perform(Deliver(bad.digest))
    assert await site.event() == DeliveryFailed(bad.digest)
    assert not site.store.has(bad.digest)


async def test_a_delivery_that_fails_after_the_next_session_was_opened_is_not_reported_as_one_of_that(
    site: Site,
) -> None:
    """It only says that the model is gone; else the model would be delivered to the next ML process twice."""
    gone = "7" * 64
    site.effects.perform(Deliver(gone))
    site.ml._sessions += 1
    assert await site.event() == Dropped(gone)
