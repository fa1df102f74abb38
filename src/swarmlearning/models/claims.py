"""Who fetches which chunks of a model, where several sources bring them at once.

Each source has a *claim*, a run of chunks that it alone brings; the first of them is on its way. The rarest chunks are
claimed first. Where no chunk is left without a claim, a source that is free takes over the second half of the longest
claim, and in the end fetches the chunk of a far slower one too: the first of the two wins. So every source gives what
it can, in one request each time, and none has to be told apart as slow beforehand.
"""

import time
from dataclasses import dataclass
from typing import Final

from swarmlearning.tensors.digest import Layout

SLOWER: Final = 2.0
"""One more source is asked for a chunk once others have needed so many times as long for it as that one would."""
UNKNOWN_SECONDS: Final = 5.0
"""What a source is taken to need for a chunk of which nothing is known yet."""


@dataclass(eq=False)
class Claim:
    """Chunks from `first`, which is on its way since then (`time.monotonic`), to before `end`.

    `aside`: others fetch the same chunk, so the bytes of this source are kept apart from theirs, at this place.
    """

    first: int
    end: int
    since: float
    aside: int | None = None


@dataclass(eq=False)
class Holding:
    """What is known of a source: `here`, a byte for each chunk that is not zero if it has it, None if it has all; and
    `pace`, the seconds that it needs for a byte, None while that is not known.
    """

    here: bytes | None = None
    pace: float | None = None

    def has(self, index: int) -> bool:
        return self.here is None or bool(self.here[index])


class Claims:
    """Belongs to whoever holds the lock of the model's `Parts`, whose `here` it reads."""

    def __init__(self, layout: Layout, here: bytearray) -> None:
        self._layout = layout
        self._here = here
        self._claims: dict[Claim, Holding] = {}

    def take(self, holding: Holding, wanted: range) -> Claim | None:
        """Chunks among those wanted for a source that is free, None where there are none for it now."""
        found = self._unclaimed(holding, wanted) or self._half(holding, wanted) or self._overdue(holding, wanted)
        if found is not None:
            self._claims[found] = holding
        return found

    def release(self, claim: Claim) -> None:
        """What the source has not brought is free for others."""
        del self._claims[claim]

    def are_on_their_way(self, wanted: range) -> bool:
        """True if some source brings one of these chunks."""
        on_way = (range(claim.first, claim.end) for claim in self._claims if self.is_open(claim))
        return any(each.start < wanted.stop and wanted.start < each.stop for each in on_way)

    def is_open(self, claim: Claim) -> bool:
        """False once the source has brought all, or another was faster with the chunk on its way."""
        return claim.first < claim.end and not self._here[claim.first]

    def _unclaimed(self, holding: Holding, wanted: range) -> Claim | None:
        """The first run of the rarest chunks that nobody has or fetches."""
        taken = bytearray(self._here)
        for claim in self._claims:
            taken[claim.first : claim.end] = b"\x01" * (claim.end - claim.first)
        partly = [each.here for each in dict.fromkeys(self._claims.values()) if each.here is not None]

        def lack(index: int) -> int:
            return sum(not here[index] for here in partly)

        free = [index for index in wanted if not taken[index] and holding.has(index)]
        if not free:
            return None
        first = max(free, key=lack) if partly else free[0]  # the first of those that most sources lack
        end = first + 1
        while end < wanted.stop and not taken[end] and holding.has(end) and lack(end) == lack(first):
            end += 1
        return Claim(first, end, time.monotonic())

    def _half(self, holding: Holding, wanted: range) -> Claim | None:
        """The second half of the longest run that a source has not come to yet."""
        for longest in sorted(self._claims, key=lambda claim: claim.first - claim.end):
            if longest.end - longest.first < 2:
                return None
            middle = longest.first + 1 + (longest.end - longest.first - 1) // 2
            if all(index in wanted and holding.has(index) for index in range(middle, longest.end)):
                found = Claim(middle, longest.end, time.monotonic())
                longest.end = middle
                return found
        return None

    def _overdue(self, holding: Holding, wanted: range) -> Claim | None:
        """The chunk for which others have needed longest, and far longer than this source would."""
        since: dict[int, float] = {}  # when the last source has begun with it
        for claim in self._claims:
            if self.is_open(claim) and claim.first in wanted and holding.has(claim.first):
                since[claim.first] = max(claim.since, since.get(claim.first, claim.since))
        oldest = min(since, key=since.__getitem__, default=None)
        if oldest is None or time.monotonic() - since[oldest] < SLOWER * self._seconds(holding, oldest):
            return None
        places = {claim.aside for claim in self._claims}
        aside = next(place for place in range(len(places) + 1) if place not in places)
        return Claim(oldest, oldest + 1, time.monotonic(), aside)

    def _seconds(self, holding: Holding, index: int) -> float:
        start, end = self._layout.bounds(index)
        return UNKNOWN_SECONDS if holding.pace is None else holding.pace * (end - start)
