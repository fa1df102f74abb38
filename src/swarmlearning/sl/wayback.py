"""What comes back to this site of what was merged elsewhere: a coded change, where it has the base of that.

The ledger has the digests of both, of the change and of the model that base and change give. So a change is believed
as soon as the model made of it has the right digest; where it has not, whatever the reason, the model itself is
fetched. Who lacks the base (a newcomer, a site with a lost disk) fetches the model at once.
"""

import asyncio
import logging
from collections.abc import Callable

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.transfers import back_in, merged_of
from swarmlearning.merge.back import decode_model
from swarmlearning.merge.changes import Coding, Malformed
from swarmlearning.merge.streaming import OnRead
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.events import Dropped, Event
from swarmlearning.sl.giving import Giving
from swarmlearning.sl.merging import in_thread
from swarmlearning.sl.outersteps import Get
from swarmlearning.tensors.digest import ModelDigest, digest_file

logger = logging.getLogger("swarm.SL")


class WayBack:
    """Belongs to one event loop, in which `emit` is called. `on_read` sees progress."""

    def __init__(self, store: TensorStore, giving: Giving, emit: Callable[[Event], None], on_read: OnRead) -> None:
        self._store = store
        self._giving = giving
        self._emit = emit
        self._on_read = on_read

    def getting(self, training: Training, get: Get, pin: Pin) -> Get:
        """What fetches a model, by `get`: what was merged for the standing result as a change, where that can be. What
        is stored is added to `pin`."""

        async def obtain(wanted: str, size: int | None) -> None:
            if not await self._by_change(training, wanted, get, pin):
                await get(wanted, size)

        return obtain

    async def _by_change(self, training: Training, wanted: str, get: Get, pin: Pin) -> bool:
        """Whether the model is here, made of its change."""
        result, store = training.result, self._store
        if result is None or not training.change or wanted != merged_of(training) or store.has(wanted):
            return False
        base = result.closed.base
        pin.add(base)
        if not store.has(base):
            return False
        info = store.digest_info(base)
        coding = self._giving.changes.codings.of(back_in(training, base), info)
        assert coding is not None
        pin.add(training.change)
        try:
            await get(training.change, coding.size)
            return await self._decoded(coding, info, training.change, wanted, pin)
        except (TransferError, _Wrong) as error:
            logger.info("What was merged cannot be made of its coded change, so it is fetched whole: %s", error)
            return False

    async def _decoded(self, coding: Coding, base: ModelDigest, change: str, wanted: str, pin: Pin) -> bool:
        """Makes the model of base and change. Raises `_Wrong` where that is not the one wanted."""
        store, found = self._store, self._store.digest_info(change)
        if found.layout != coding.layout(base.root) or found.chunks[0] != base.chunks[0]:
            raise _Wrong("its file is not laid out like this training's changes")
        out, before = store.temporary(), store.path(base.root)
        try:
            await in_thread(lambda read: decode_model(coding, before, store.path(change), out, read), self._on_read)
            with store.writing(out, base.size):
                made = await asyncio.to_thread(digest_file, out, format=base.layout.format)
            if made.root == wanted:
                pin.add(wanted)
                store.commit(out, made)
                await self._giving.made_public(change)
                return True
        except Malformed as error:
            raise _Wrong(str(error)) from error
        finally:
            out.unlink(missing_ok=True)
        if not await store.verify(base.root):
            self._emit(Dropped(base.root))
        raise _Wrong("with the base it gives a model other than that on the ledger")


class _Wrong(Exception):
    """What a change stands for is not what was merged; the text says why."""
