"""Pushes this site's contributions to those who merge them, while nobody can connect to it.

What is to be pushed follows from the ledger (`pushed.py`) with each block: what is not wanted any more is stopped, and
what a merger does not take is tried again until then. Meanwhile mergers fetch it through the relay.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from swarmlearning.backoff import Backoff
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.slices import MOST_MERGERS
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.models.connections import Source, text_of
from swarmlearning.models.pushing import PushError, next_run
from swarmlearning.models.store import NotHeldError, TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.node.follower import Follower
from swarmlearning.sl.layouts import chunks_of
from swarmlearning.sl.pushed import fault_of_merger, is_behind, to_push
from swarmlearning.sl.tasks import Tasks
from swarmlearning.tensors.digest import Layout

logger = logging.getLogger("swarm.SL")

LONGEST_PAUSE: Final = 5.0
T = TypeVar("T")
Target = tuple[str, str]
"""A merger's UID, and the digest of a model."""


class Pushing:
    """Works in `tasks`. `sources` gives the addresses of members; `gives`: whether this site gives a model to others,
    as the ledger stands."""

    def __init__(
        self,
        uid: str,
        tasks: Tasks,
        follower: Follower,
        store: TensorStore,
        fetcher: Fetcher,
        sources: Callable[[Sequence[str]], Mapping[Source, str]],
        gives: Callable[[Chain, str], bool],
    ) -> None:
        self._uid = uid
        self._tasks = tasks
        self._follower = follower
        self._store = store
        self._fetcher = fetcher
        self._sources = sources
        self.sent = 0
        """Bytes that have arrived elsewhere."""
        self._gives = gives
        self._wanted: dict[Target, tuple[range, ...]] = {}
        self._more: dict[Target, asyncio.Event] = {}
        self._threads = ThreadPoolExecutor(MOST_MERGERS, "push")

    def close(self) -> None:
        """What runs in its threads ends by itself; nothing more begins."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def follow(self, chain: Chain, training: Training) -> None:
        """Begins and stops what follows from this block."""
        before = self._wanted
        found = to_push(training, self._uid) if is_behind(chain.world, self._uid) else {}
        self._wanted = {target: units for target, units in found.items() if self._gives(chain, target[1])}
        for target in before.keys() - self._wanted.keys():
            self._tasks.cancel(target)
        self._more = {target: self._more.get(target, asyncio.Event()) for target in self._wanted}
        for target, units in self._wanted.items():
            if target not in before:
                self._tasks.start(self._push(target, self._more[target]), target)
            elif not set(before[target]).issuperset(units):
                self._more[target].set()

    async def _push(self, target: Target, more: asyncio.Event) -> None:
        """Pushes to one merger what it is to have of a model, and what it gets to merge later, until cancelled."""
        merger, digest = target
        attempts, complained = Backoff(longest=LONGEST_PAUSE), False
        async for _ in attempts:
            source = next((each for each in self._sources([merger]) if len(each) == 2), None)
            if source is None:
                continue
            try:
                with self._store.pinned(digest):
                    while True:
                        more.clear()
                        await self._push_once(target, source)
                        attempts.reset()
                        await more.wait()
            except NotHeldError:
                return
            except (PushError, OSError) as error:
                log = logger.debug if complained else logger.info
                log("Model %s is not pushed to %s now: it %s", digest[:16], text_of(source), error)
                complained = True
                if isinstance(error, PushError) and error.status == 405:
                    return  # a release that takes nothing

    async def _push_once(self, target: Target, source: Source) -> None:
        """Raises `PushError`, OSError and `NotHeldError`."""
        info = self._store.digest_info(target[1])
        if info.header is None:
            return  # of a network whose models are not cut so that parts could be pushed
        loop = asyncio.get_running_loop()
        fault = partial(fault_of_merger, self._follower.chain, target[0])
        push = self._fetcher.push(info, source, fault, lambda size: loop.call_soon_threadsafe(self._count, size))

        async def in_thread(work: Callable[[], T]) -> T:
            running = loop.run_in_executor(self._threads, work)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                push.stop()
                await asyncio.wait([running])
                raise

        with self._store.open(info.root)[0] as file:
            here = await in_thread(lambda: push.begin(self._follower.chain.height))
            while run := next_run(info.layout, here, self._chunks(target, info.layout)):
                here = await in_thread(partial(push.chunks, file, run, self._follower.chain.height))
                if not all(here[run.start : run.stop]):
                    raise PushError("gets these chunks from elsewhere, or has not kept them")

    def _count(self, size: int) -> None:
        self.sent += size

    def _chunks(self, target: Target, layout: Layout) -> list[range]:
        """What the merger is to have by now."""
        return [chunks_of(layout, units.start, units.stop) for units in self._wanted.get(target, ())]
