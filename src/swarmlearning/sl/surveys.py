"""Statistics of models that are merged by the geometric median in slices: this node's, and as leader those of all.

Whoever is to merge a slice takes the inner products of the models' differences there (`merge/parts.py`), and states
their digest on the ledger; the leader asks for them, and finds the coefficients from the sum over all slices. What it
is sent is bounded, has that digest, and is such as models could give; whether it is true shows who computes it again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from swarmlearning.ledger.contracts.training.slices import Recipe
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.geomedian import Survey, on_grid, settle
from swarmlearning.merge.parts import GramPart, PartError
from swarmlearning.merge.streaming import Range
from swarmlearning.models.connections import Source
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.rounds.slices import FetchSlice, Weighed, WeighModels
from swarmlearning.sl.remembered import Remembered
from swarmlearning.tensors.file import Header

SECONDS: Final = 20.0
"""In which those who have stated the same have to answer; links are busy with models meanwhile."""
MOST_BYTES: Final = 20 * 1024
"""Of one slice: 64 models take 17 KB."""

logger = logging.getLogger("swarm.SL")


def survey_of(recipe: Recipe) -> Survey:
    """The survey that a recipe names."""
    if recipe.survey == 1:
        return Survey()
    return Survey(tuple(one.coefficient / GRID for one in recipe.contributors))


class Surveys:
    """Statistics of this node's slices, and a leader's of all; by the names of surveys. `height` is that of the
    ledger."""

    def __init__(self, fetcher: Fetcher, height: Callable[[], int]) -> None:
        self._fetcher = fetcher
        self._height = height
        self._own: Remembered[int, GramPart] = Remembered()
        self._gathered: Remembered[str, GramPart] = Remembered()

    def keep(self, recipe: str, index: int, part: GramPart) -> None:
        """Remembers the statistics of a slice here; in any thread."""
        self._own.put(recipe, index, part)

    def of(self, recipe: str, index: int) -> bytes | None:
        """This node's statistics of a slice, for others; None where they are not known."""
        part = self._own.get(recipe, index)
        return part.to_bytes() if part else None

    async def fetch(self, task: FetchSlice, header: Header, part: Range, sources: Sequence[Source]) -> None:
        """Gathers the statistics that these have of a slice. Raises `TransferError` where none of them gives what was
        stated."""
        try:
            async with asyncio.timeout(SECONDS):
                for source in sources:
                    if (found := await self._ask(task, header, part, source)) is not None:
                        self._gathered.put(task.recipe, task.root, found)
                        return
        except TimeoutError:
            pass
        raise TransferError(f"the statistics of slice {task.slice} of {task.recipe[:16]} cannot be fetched")

    async def _ask(self, task: FetchSlice, header: Header, part: Range, source: Source) -> GramPart | None:
        try:
            data = await self._fetcher.sums("statistics", task.recipe, task.slice, source, MOST_BYTES, self._height())
            found = GramPart.read(data, header, part, task.statistics_of)
        except (TransferError, PartError) as error:
            logger.info("Slice %d of %s: %s", task.slice, task.recipe[:16], error)
            return None
        return found if found.digest == task.root else None

    def weigh(self, task: WeighModels, header: Header) -> Weighed | None:
        """The coefficients that follow from the statistics of all slices; None where some are not here. Raises
        PartError."""
        name = task.recipe.name
        known = {part.digest: part for part in self._own.all(name).values()} | self._gathered.all(name)
        parts = [known[digest] for digest in task.roots if digest in known]
        if len(parts) < len(task.roots):
            return None
        found = settle(task.weights, header, survey_of(task.recipe), parts)
        again = isinstance(found, Survey)
        shares = on_grid(np.array(found.about)) if isinstance(found, Survey) else found
        if min(shares) < 0 or sum(shares) != GRID:
            raise PartError(f"no coefficients follow from the statistics of {name[:16]}: {shares[:3]}...")
        return Weighed(name, shares, again)
