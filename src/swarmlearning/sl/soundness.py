"""Which results this site can train on: each is checked once, before it counts as fetched or goes to the script."""

import asyncio
from typing import Final

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.models.store import TensorStore
from swarmlearning.sl.checking import fault_of_result
from swarmlearning.sl.mlside import MLSide
from swarmlearning.sl.narration import Narrator
from swarmlearning.sl.stopwatch import Stopwatch

_REMEMBERED: Final = 64
"""Results whose check is remembered."""


class Soundness:
    """Belongs to one event loop. A result that cannot be trained on is removed from the store, and told to people."""

    def __init__(self, store: TensorStore, ml: MLSide, narrator: Narrator, watch: Stopwatch) -> None:
        self._store = store
        self._ml = ml
        self._narrator = narrator
        self._watch = watch
        self._faults: dict[str, str] = {}  # of results that have been checked; empty for sound ones

    def known_fault(self, digest: str) -> str:
        """What an earlier check has found; empty where that was nothing, or there was none."""
        return self._faults.get(digest, "")

    def made_here(self, digest: str) -> None:
        """A result that this node has made itself need not be checked."""
        self._remember(digest, "")

    async def fault(self, digest: str, training: Training) -> str:
        """The reason why a held result cannot be trained on, empty when it can; as it was found before, if it was.
        Raises `NotHeldError`."""
        return self._faults[digest] if digest in self._faults else await self.check(digest, training)

    async def check(self, digest: str, training: Training) -> str:
        """The same, checked anew. Raises `NotHeldError`."""
        terms, own, result = training.terms, self._ml.model, training.result
        before = result.closed.base if result and result.digest == digest else ""
        if terms is None or digest == own:
            return ""
        with self._store.pinned(*filter(None, (own, before))):
            own_path, before_path = (
                self._store.path(each) if each and self._store.has(each) else None for each in (own, before)
            )
            with self._watch.during("check"):
                roles = self._ml.known.roles(terms.structure)
                fault = await asyncio.to_thread(
                    fault_of_result, self._store.path(digest), terms.structure, own_path, before_path, roles
                )
        if fault or own_path:
            self._remember(digest, fault)
        if fault:
            self._narrator.bad_result(digest, fault)
            self._store.forget(digest)
        return fault

    def _remember(self, digest: str, fault: str) -> None:
        self._faults[digest] = fault
        while len(self._faults) > _REMEMBERED:
            del self._faults[next(iter(self._faults))]


def is_result(training: Training, digest: str) -> bool:
    """True for the standing result, the one that it builds on, and what the round in progress builds on."""
    results = {training.result.digest, training.result.closed.base} if training.result else set()
    return digest in results | ({training.round.base} if training.round else set())
