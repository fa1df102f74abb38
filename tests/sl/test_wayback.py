"""What comes back to an SL with a real store: the change where it has the base, else the model; and who is believed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from merge.model_files import save
from support.play import Play
from swarmlearning.choices import Transfer
from swarmlearning.ledger.contracts.training.outer import Step, TakenStep
from swarmlearning.ledger.contracts.training.state import Charter, Training
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.events import Dropped, Event, Merge, Merged
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.giving import Giving
from swarmlearning.sl.merging import merge_round
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.wayback import WayBack
from swarmlearning.tensors.digest import digest_laid_out
from swarmlearning.tensors.file import read
from swarmlearning.tensors.structure import structure_digest

SHAPE = (300, 400)
SPECS = [("b", "F32", (3,)), ("w", "F32", SHAPE)]


@dataclass
class Site:
    """A store, and another site's that it fetches from; `public`: what it notes as no secret."""

    folder: Path
    other: TensorStore
    events: list[Event] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = TensorStore(self.folder / "models")
        lock: Any = self
        changes = Changes(self.folder, self.store, Codings(self.store))
        giving = Giving(self.store, changes, lock, Stopwatch())
        self.back = WayBack(self.store, giving, self.events.append, lambda size: None)

    async def made_public(self, digest: str) -> None:
        self.public.append(digest)

    async def get(self, digest: str, size: int | None) -> None:
        if self.store.has(digest):
            return
        if not self.other.has(digest):
            raise TransferError("nobody has it")
        self.fetched.append(digest)
        info = self.other.digest_info(digest)
        assert size in (None, info.size), "the size of a change is known before it comes"
        copy = self.store.temporary()
        copy.write_bytes(self.other.path(digest).read_bytes())
        self.store.commit(copy, info)

    async def obtain(self, state: Training, wanted: str) -> None:
        with self.store.pinned(wanted) as pin:
            await self.back.getting(state, self.get, pin)(wanted, None)


async def adopt(store: TensorStore, value: float, seed: int = 1) -> str:
    values = value + 0.1 * np.random.default_rng(seed).standard_normal(SHAPE)
    path = save(store.temporary(), {"w": values.astype(np.float32), "b": np.full(3, value, np.float32)})
    return (await store.adopt(path, format=2)).root


def begun(min_peers: int = 1, transfer: Transfer = "float32") -> Training:
    play = Play("a", "b", charter=Charter("org-1", transfer=transfer, transfer_back="int8"))
    play.complete_round("a", "b")
    assert play.state.terms is not None
    terms = msgspec.structs.replace(play.state.terms, min_peers=min_peers, structure=structure_digest(SPECS))
    return msgspec.structs.replace(play.state, terms=terms)


def after(base: str, merged: str, change: str, step: Step | None = None) -> Training:
    """The state in which this result stands."""
    state = begun()
    assert state.result is not None
    closed = msgspec.structs.replace(state.result.closed, base=base)
    result = msgspec.structs.replace(state.result, digest="5" * 64 if step else merged, closed=closed)
    taken = (TakenStep(result.digest, step),) if step else ()
    return msgspec.structs.replace(state, result=result, change=change, taken=taken)


async def merge(store: TensorStore, base: str, *digests: str) -> Merged:
    entries = tuple(Submission(uid, "trained", digest, 1, 1, 0) for uid, digest in zip("ab", digests, strict=False))
    task = Merge(1, 0, base, entries, (), False)
    with store.pinned() as pin:
        return await merge_round(task, begun(), store, lambda moved: None, pin, format=2)


@pytest.fixture
def there(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "other")


@pytest.fixture
def here(tmp_path: Path, there: TensorStore) -> Site:
    return Site(tmp_path / "own", there)


async def merged_there(here: Site, there: TensorStore) -> tuple[str, Merged]:
    """The base, which both have, and what the other site has merged."""
    base = await adopt(here.store, 1.0)
    await adopt(there, 1.0)
    return base, await merge(there, base, await adopt(there, 1.5, 2), await adopt(there, 2.0, 3))


async def test_a_merge_is_what_base_and_change_give(there: TensorStore) -> None:
    base = await adopt(there, 1.0)
    done = await merge(there, base, await adopt(there, 1.5, 2), await adopt(there, 2.0, 3))
    assert done.change
    assert done.size == there.digest_info(base).size
    assert there.digest_info(done.change).layout.is_coded
    assert there.digest_info(done.change).size < 0.27 * done.size
    weights = read(there.path(done.result))
    np.testing.assert_allclose(weights["w"].mean(), 1.75, atol=0.01)
    assert weights["b"].tolist() == [1.75] * 3
    whole = await merge(there, "", await adopt(there, 1.5, 2), await adopt(there, 2.0, 3))
    assert not whole.change  # a round without a base
    assert whole.result != done.result


async def test_who_has_the_base_fetches_the_change_and_makes_the_model(here: Site, there: TensorStore) -> None:
    base, done = await merged_there(here, there)
    await here.obtain(after(base, done.result, done.change), done.result)
    assert here.fetched == here.public == [done.change]
    assert here.store.path(done.result).read_bytes() == there.path(done.result).read_bytes()
    assert here.store.has(done.change)  # for others


async def test_an_outer_step_goes_on_from_what_the_change_gives(here: Site, there: TensorStore) -> None:
    base, done = await merged_there(here, there)
    state = after(base, "", done.change, Step(done.result, "6" * 64))
    await here.obtain(state, done.result)
    assert here.fetched == [done.change]
    assert here.store.has(done.result)
    with pytest.raises(TransferError):
        await here.obtain(state, "6" * 64)  # what is not the merge is fetched as it is


@pytest.mark.parametrize("lost", ["base", "change"])
async def test_who_lacks_the_base_or_gets_no_change_fetches_the_model(
    here: Site, there: TensorStore, lost: str
) -> None:
    base, done = await merged_there(here, there)
    (here.store.forget if lost == "base" else there.forget)(base if lost == "base" else done.change)
    await here.obtain(after(base, done.result, done.change), done.result)
    assert here.fetched == [done.result]
    assert not here.public


async def coded(site: Site, there: TensorStore, base: str, alter: Callable[[bytearray], None]) -> str:
    """A change that was altered, as the other site states it."""
    done = await merge(there, base, await adopt(there, 9.0, 5))
    content = bytearray(there.path(done.change).read_bytes())
    alter(content)
    path = there.temporary()
    path.write_bytes(content)
    info = digest_laid_out(path, there.digest_info(done.change).layout)
    there.commit(path, info)
    return info.root


def scale(content: bytearray) -> None:
    content[-SHAPE[0] * SHAPE[1] - 1] |= 0x80


def header(content: bytearray) -> None:
    content[20] ^= 1


@pytest.mark.parametrize("alter", [scale, header, lambda content: None])
async def test_a_change_that_gives_another_model_is_not_believed(
    here: Site, there: TensorStore, alter: Callable[[bytearray], None]
) -> None:
    base, done = await merged_there(here, there)
    change = await coded(here, there, base, alter)
    held = here.store.held()
    await here.obtain(after(base, done.result, change), done.result)
    assert here.fetched == [change, done.result]
    assert here.store.held() == held | {change, done.result}
    assert not here.public
    assert not here.events


async def test_a_model_in_the_place_of_a_change_is_not_believed(here: Site, there: TensorStore) -> None:
    base, done = await merged_there(here, there)
    other = await adopt(there, 9.0, 5)
    with pytest.raises(AssertionError, match="size of a change"):
        await here.obtain(after(base, done.result, other), done.result)  # as a fetcher would refuse it


async def test_a_base_that_is_damaged_is_noticed(here: Site, there: TensorStore) -> None:
    base, done = await merged_there(here, there)
    path = here.store.path(base)
    path.write_bytes(path.read_bytes()[:-4] + b"\1\2\3\4")
    await here.obtain(after(base, done.result, done.change), done.result)
    assert here.fetched == [done.change, done.result]
    assert here.events == [Dropped(base)]


def test_sites_make_the_same_of_a_change_as_often_as_they_like(here: Site, there: TensorStore) -> None:
    async def scenario() -> None:
        base, done = await merged_there(here, there)
        for _ in range(2):
            await here.obtain(after(base, done.result, done.change), done.result)
            here.store.forget(done.result)
        assert here.fetched == [done.change]

    asyncio.run(scenario())
