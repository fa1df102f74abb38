"""An SL that nobody can connect to pushes its model as the ledger goes on, to mergers that are played here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from support.play import model
from support.slicing import InSlices, opened
from swarmlearning.ledger.bodies import Announce, Weigh
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.weighing import WHOLE
from swarmlearning.models.connections import Source
from swarmlearning.models.pushing import PushError
from swarmlearning.models.store import NotHeldError
from swarmlearning.sl.layouts import chunks_of
from swarmlearning.sl.pushing import Pushing
from swarmlearning.sl.tasks import Tasks
from swarmlearning.tensors.digest import LEAST_CHUNK, ModelDigest

HIDDEN = "d"
RELAY = "198.18.0.1:30308"
COUNT = 1025
SIZE = 64 + (COUNT - 1) * LEAST_CHUNK
INFO = ModelDigest(SIZE, (bytes(32),) * COUNT, 64)


class Merger:
    """What one has of the model; `fault`: what it answers, if not that."""

    def __init__(self) -> None:
        self.here = bytearray(COUNT)
        self.fault: PushError | None = None
        self.keeps = True
        self.lists = 0
        self.pushed = 0


class PlayedPush:
    """One push to a merger."""

    def __init__(self, merger: Merger, answered: Callable[[], object]) -> None:
        self._merger, self._answered = merger, answered

    def begin(self, height: int) -> bytes:
        self._merger.lists += 1
        return self._answer()

    def chunks(self, file: object, run: range, height: int) -> bytes:
        self._merger.pushed += len(run)
        if self._merger.keeps:
            self._merger.here[run.start : run.stop] = b"\1" * len(run)
        return self._answer()

    def stop(self) -> None:
        """Nothing waits."""

    def _answer(self) -> bytes:
        self._answered()
        if self._merger.fault is not None:
            raise self._merger.fault
        return bytes(self._merger.here)


class Site:
    """The hidden site at work on a ledger that the test goes on with."""

    def __init__(self, play: InSlices) -> None:
        self.play = play
        self.mergers = {uid: Merger() for uid in "abc"}
        self.lacks, self.looked = False, 0
        self.gives = True
        self.behind: set[str] = set()
        self.answered = asyncio.Event()
        self.tasks = Tasks()
        here: Any = self
        self.pushing = Pushing(HIDDEN, self.tasks, here, here, here, self.sources, self._gives)

    # --- what it is given ---------------------------------------------------------------------------------------------

    @property
    def chain(self) -> Chain:
        return self.play.ledger.chain

    def sources(self, uids: Sequence[str]) -> Mapping[Source, str]:
        return {("host", ord(uid), *([uid] if uid in self.behind else [])): uid for uid in uids}  # type: ignore[misc]

    def _gives(self, chain: Chain, digest: str) -> bool:
        return self.gives

    def push(self, info: ModelDigest, source: Source, fault: Callable[[bytes], str], sent: object) -> PlayedPush:
        loop = asyncio.get_running_loop()
        return PlayedPush(self.mergers[chr(source[1])], lambda: loop.call_soon_threadsafe(self.answered.set))

    def pinned(self, *digests: str) -> Any:
        return nullcontext()

    def digest_info(self, digest: str) -> ModelDigest:
        assert digest == model(HIDDEN, 0)
        self.looked += 1
        self.answered.set()
        if self.lacks:
            raise NotHeldError("it is gone")
        return INFO

    def open(self, digest: str) -> tuple[Any, ModelDigest]:
        return nullcontext(), INFO

    # --- what the test does -------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """The site sees the present block, and begins and ends what follows from it."""
        self.pushing.follow(self.chain, self.play.state)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Lets it push until this is so."""
        while not reached():
            self.answered.clear()
            await self.answered.wait()
            await asyncio.sleep(0)

    def chunks(self, uid: str) -> set[int]:
        """Those that a merger is to have, of slices that it has not merged."""
        left = [each for each in self.play.slicing.slices if each.merger == uid and not each.root]
        return {chunk for each in left for chunk in chunks_of(INFO.layout, each.start, each.stop)}

    def here(self, uid: str) -> set[int]:
        return {at for at, here in enumerate(self.mergers[uid].here) if here}

    async def pause(self) -> None:
        """Returns when each push waits until its merger is given more."""

        def waiting() -> bool:
            return all(more._waiters for more in self.pushing._more.values())

        while not waiting():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)

    def running(self) -> set[str]:
        return {merger for merger, _ in self.pushing._wanted}


@pytest.fixture(params=[{}])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """`params`: other terms of the session."""
    play = opened(size=SIZE, **request.param)
    play.size = SIZE
    play.send(HIDDEN, Announce({"fs": RELAY, "relay": RELAY}), network.CONTRACT)
    play.link(HIDDEN, merges=False)
    play.submit()
    made = Site(play)
    yield made
    await made.tasks.stop()
    made.pushing.close()


async def test_each_merger_gets_its_chunks_and_what_it_takes_over_later(site: Site) -> None:
    site.advance()
    before = {uid: site.chunks(uid) for uid in "abc"}
    assert set().union(*before.values()) == set(range(COUNT))
    await site.until(lambda: all(site.here(uid) == before[uid] for uid in "abc"))
    await site.pause()
    merger = site.play.others(site.play.leader, HIDDEN)[0]
    index = site.play.of(merger)[1]
    site.play.reassign(index)
    successor = site.play.slice(index).merger
    site.advance()
    await site.until(lambda: site.here(successor) == before[successor] | site.chunks(successor))
    assert site.mergers[successor].lists == 2, "once more when it was given more"
    assert [site.mergers[uid].lists for uid in "abc" if uid != successor] == [1, 1]


async def test_who_has_merged_all_is_pushed_nothing_more(site: Site) -> None:
    site.advance()
    assert site.running() == set("abc")
    merger = site.play.others(site.play.leader, HIDDEN)[0]
    site.play.merge(*site.play.of(merger))
    site.advance()
    assert site.running() == set("abc") - {merger}


@pytest.mark.parametrize("site", [{"merge_method": "geomedian"}], indirect=True, ids=["geomedian"])
async def test_what_mergers_have_surveyed_is_not_pushed_once_more_to_be_merged(site: Site) -> None:
    assert site.play.slicing.survey == 1
    before = {uid: site.chunks(uid) for uid in "abc"}
    site.advance()
    await site.until(lambda: all(site.here(uid) == before[uid] for uid in "abc"))
    site.play.merge()
    site.advance()
    assert site.running() == set()
    shares = (WHOLE // 2, WHOLE // 4, WHOLE // 8, WHOLE // 8)
    current = site.play.round
    site.play.send(site.play.leader, Weigh(current.number, current.term, site.play.slicing.recipe, shares))
    site.advance()
    await site.until(lambda: all(merger.lists == 2 for merger in site.mergers.values()))
    await site.pause()
    assert {uid: merger.pushed for uid, merger in site.mergers.items()} == {uid: len(before[uid]) for uid in "abc"}


async def test_a_push_that_was_refused_is_tried_again_and_one_that_nobody_takes_is_not(site: Site) -> None:
    site.mergers["a"].fault = PushError("answered 507", 507)
    site.mergers["b"].fault = PushError("answered 405", 405)
    site.mergers["c"].keeps = False
    site.advance()
    await site.until(lambda: all(site.mergers[uid].lists > 1 for uid in "ac") and site.mergers["b"].lists == 1)
    assert site.here("a") == site.here("c") == set()
    site.mergers["a"].fault, site.mergers["b"].fault, site.mergers["c"].keeps = None, None, True
    await site.until(lambda: all(site.here(uid) == site.chunks(uid) for uid in "ac"))
    assert (site.here("b"), site.mergers["b"].lists) == (set(), 1)


async def test_a_site_that_others_can_connect_to_pushes_nothing(site: Site) -> None:
    site.advance()
    assert site.running() == set("abc")
    site.play.send(HIDDEN, Announce({"fs": "198.18.0.7:1"}), network.CONTRACT)
    site.advance()
    assert site.running() == set()


async def test_a_site_whose_privacy_lock_gives_nothing_pushes_nothing(site: Site) -> None:
    site.gives = False
    site.advance()
    assert site.running() == set()


async def test_nothing_is_pushed_to_a_merger_that_only_a_relay_reaches(site: Site) -> None:
    site.behind = {"a"}
    site.advance()
    await site.until(lambda: all(site.here(uid) == site.chunks(uid) for uid in "bc"))
    assert site.mergers["a"].lists == 0


async def test_a_model_that_is_gone_ends_no_node(site: Site) -> None:
    site.lacks = True
    site.advance()
    await site.until(lambda: site.looked == len("abc"))
    site.advance()
    assert not site.tasks.ended.done()
    assert [site.mergers[uid].lists for uid in "abc"] == [0, 0, 0]
