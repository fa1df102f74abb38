"""How much each model has weighed in a result that several sites have merged, slice by slice.

Whoever merges a slice knows sums over it (`merge/parts.py`); the leader, who states the influence in its receipt, asks
the mergers for theirs. Nothing follows from these: where one does not answer soon, they are left out.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from swarmlearning.merge.influence import influences
from swarmlearning.merge.parts import InfluencePart, PartError, total_influence
from swarmlearning.merge.streaming import Range
from swarmlearning.models.connections import Source
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.sl.remembered import Remembered
from swarmlearning.tensors.file import Header

SECONDS: Final = 5.0
"""In which all mergers have to answer."""
MOST_BYTES: Final = 8 * 1024
"""Of one slice: 64 models take 1.6 KB."""

Found = tuple[tuple[float | None, float | None], ...]


class Influences:
    """Those of this node's slices, and a leader's of all. `height` is that of the ledger."""

    def __init__(self, fetcher: Fetcher, height: Callable[[], int]) -> None:
        self._fetcher = fetcher
        self._height = height
        self._own: Remembered[int, InfluencePart] = Remembered()

    def keep(self, recipe: str, index: int, part: InfluencePart) -> None:
        """Remembers the sums of a slice that is merged here; in any thread."""
        self._own.put(recipe, index, part)

    def of(self, recipe: str, index: int) -> bytes | None:
        """The sums of a slice, for others; None where they are not known here."""
        part = self._own.get(recipe, index)
        return part.to_bytes() if part else None

    async def of_all(
        self, recipe: str, models: int, header: Header, slices: Mapping[int, tuple[Range, Sequence[Source]]]
    ) -> Found:
        """Each model's influence in the whole result, in the order of the recipe; nothing where some merger does not
        tell. `slices`: by index the range of each that is not empty, and who has merged it."""
        try:
            async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
                asking = [
                    group.create_task(self._ask(recipe, index, models, part, sources))
                    for index, (part, sources) in slices.items()
                ]
            found = [task.result() for task in asking]
            if any(part is None for part in found):
                return ()
            return tuple(influences(total_influence([part for part in found if part], header)))
        except (TimeoutError, PartError):
            return ()

    async def _ask(
        self, recipe: str, index: int, models: int, part: Range, sources: Sequence[Source]
    ) -> InfluencePart | None:
        if (own := self._own.get(recipe, index)) is not None:
            return own
        for source in sources:
            try:
                data = await self._fetcher.sums("influence", recipe, index, source, MOST_BYTES, self._height())
                return InfluencePart.read(data, part, models)
            except (TransferError, PartError):
                continue
        return None
