"""What a site gives of a model to a round: what its privacy lock makes of it, a coded change, or both."""

import logging
from collections.abc import Callable

from swarmlearning.ledger.chain import Chain
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.rounds.events import Dropped, Event, LocalFailure, Release, Released
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.locking import SiteLock
from swarmlearning.sl.stopwatch import Stopwatch

logger = logging.getLogger("swarm.SL")


class Giving:
    """`changes` makes those of a site without a lock; a lock makes its own by it."""

    def __init__(self, store: TensorStore, changes: Changes, lock: SiteLock | None, watch: Stopwatch) -> None:
        self._store = store
        self.changes = changes
        self._lock = lock
        self._watch = watch
        self.failed: Callable[[str], None] = logger.warning
        """Called for what this node cannot do."""
        if lock is not None:
            lock.changes = changes

    async def give(self, task: Release, chain: Chain, contract: str, uid: str, emit: Callable[[Event], None]) -> None:
        """Reports the outcome while all models that it concerns are pinned. `uid`: this site's."""
        with self._store.pinned(task.digest, task.base) as pin:
            try:
                done = await self._released(task, chain, contract, uid, pin)
            except NotHeldError as error:
                for digest in filter(None, (task.digest, task.base)):
                    if not self._store.has(digest):
                        emit(Dropped(digest))
                emit(LocalFailure(task, str(error)))
            except StoreError as error:
                self.failed(str(error))
                emit(LocalFailure(task, str(error)))
            else:
                emit(done)

    async def _released(self, task: Release, chain: Chain, contract: str, uid: str, pin: Pin) -> Released:
        if self._lock is not None:
            with self._watch.during("privacy"):
                return await self._lock.release(task, chain, contract, uid, pin)
        with self._watch.during("take-over"):
            done = await self.changes.release(task, contract, pin)
        self._watch.codes(self.changes.last)
        return done

    async def made_public(self, *digests: str) -> None:
        """Notes models that this node has fetched from others, or merged of what they can have."""
        if self._lock is not None:
            for digest in filter(None, digests):
                await self._lock.made_public(digest)
