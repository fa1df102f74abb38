"""Slices of a result that travel back as coded changes of the round's base.

Their chunks lie in the store beside those of the result, under a name of their own. Both have their digests on the
ledger: so a slice that was made of its change is compared with what the slice has to be, and fetched as it is where
that differs.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from swarmlearning.choices import TransferBack
from swarmlearning.ledger.contracts.training.slices import Recipe, change_name
from swarmlearning.merge.back import code_back, decode_back
from swarmlearning.merge.changes import Coding, Malformed
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.streaming import OnRead
from swarmlearning.models.parts import Parts
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Stated, TransferError
from swarmlearning.rounds.slices import FetchSlice
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.layouts import copy_start, data_in
from swarmlearning.sl.merging import in_thread, say_kept
from swarmlearning.tensors.digest import ModelDigest, slice_root

logger = logging.getLogger("swarm.SL")

Ask: TypeAlias = Callable[[str, Stated], Awaitable[object]]
"""Fetches the slice's chunks of the file of this name, of which this is stated. Raises as `fetch_part` does."""


class BackSlices:
    """`path` gives the file of a model, of which perhaps only parts are here; `count` is called with the bytes that
    were decoded, in any thread."""

    def __init__(self, store: TensorStore, codings: Codings, path: Callable[[str], Path], count: OnRead) -> None:
        self._store = store
        self._codings = codings
        self._path = path
        self._count = count

    def parts(self, recipe: str, base: str, back: TransferBack, info: ModelDigest) -> Parts | None:
        """Where the coded chunks of this result lie, as a change of the base; None where it travels as it is."""
        coding = self._codings.of(back, info)
        return self._store.parts(change_name(recipe), ModelDigest.unstated(coding.layout(base))) if coding else None

    def code(self, recipe: Recipe, info: ModelDigest, chunks: range, merged: Parts, coded: Parts, read: OnRead) -> str:
        """Codes a slice that was merged into the file of `merged`, and puts what that stands for in its place; returns
        the digest of its coded chunks. Blocks. Raises `MergeError` and `StoreError`."""
        coding = self._codings.of(recipe.back, info)
        assert coding is not None
        with coded.used():
            self._begin(chunks, coding, info, coded)
            if (data := data_in(info.layout, chunks)) is not None:
                say_kept(code_back(coding, self._path(recipe.base), merged.path, coded.path, data, read))
            coded.own(chunks)
        return slice_root(coded.info, chunks)

    async def obtain(self, task: FetchSlice, info: ModelDigest, chunks: range, ask: Ask) -> bool:
        """Whether the slice is here, made of its change. Raises `TransferError` while nobody can be reached that may
        have that, and `StoreError`."""
        if task.coded is None or not self._store.has(task.coded.base):
            return False
        coded = self.parts(task.recipe, task.coded.base, task.coded.back, info)
        merged = self._store.parts(task.recipe, ModelDigest.unstated(info.layout))
        assert coded is not None
        assert merged is not None
        if merged.has(chunks):
            return False  # there is nothing to fetch, unless it is here as another merger has stated it
        try:
            await ask(coded.name, Stated(coded.layout, task.coded.change))
            root = await in_thread(lambda read: self._decode(task, info, chunks, merged, coded, read), self._count)
        except (TransferError, MergeError, Malformed) as error:
            if isinstance(error, TransferError) and (task.others or error.unresponsive):
                raise  # the slice as it is would come from them no sooner, and has several times as many bytes
            logger.info("Slice %d cannot be made of its coded change, so it is fetched whole: %s", task.slice, error)
            return False
        if root != task.root:
            logger.info(
                "Slice %d, made of its coded change, is not that on the ledger, so it is fetched whole", task.slice
            )
            await self._store.verify(task.coded.base)
        return root == task.root

    def _decode(
        self, task: FetchSlice, info: ModelDigest, chunks: range, merged: Parts, coded: Parts, read: OnRead
    ) -> str:
        """Makes the slice of its change; returns its digest. Blocks."""
        assert task.coded is not None
        coding = self._codings.of(task.coded.back, info)
        assert coding is not None
        with merged.used(), coded.used():
            self._begin(chunks, coding, info, merged)
            if (data := data_in(info.layout, chunks)) is not None:
                decode_back(coding, self._store.path(task.coded.base), coded.path, merged.path, data, read)
            merged.own(chunks)
        return slice_root(merged.info, chunks)

    def _begin(self, chunks: range, coding: Coding, info: ModelDigest, parts: Parts) -> None:
        """Writes the header, which is chunk 0 of models and changes alike."""
        if chunks.start == 0:
            with self._store.writing(parts.path, parts.layout.size):
                copy_start(self._store.path(info.root), parts.path, coding.header.data_start)
