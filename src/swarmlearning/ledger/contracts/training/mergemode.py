"""How a round is merged, by one leader or in slices: whichever has been faster in this training. Pure.

What is measured is the time from the moment that a round's contributors are fixed until all present members hold its
result, in block times: bytes, links and round-trip times are all in it, and no site's word. Rounds of a second or two
are not worth trying the other way; neither are small models, for which slices cost transactions and win nothing. The
way that was slower is tried again now and then, since links change: so seldom that it costs a twentieth of the time.

With one leader rounds can take as many times as long as there are sites, which all would feel. So that is tried only
where it may be faster by the links that most members state: a lie can only keep it from being tried, or have it tried.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import Final

import msgspec

from swarmlearning.ledger.contracts.training.slices import Link

WORTH_MS: Final = 2000
"""Rounds that take less are merged in the way in which they are."""
FIRST_BYTES: Final = 64 * 2**20
"""Where nothing is known yet, slices come first if a leader alone would have to fetch so much."""
RETRY: Final = 16
"""Rounds after which the slower way is tried again, at the earliest."""
TRIALS: Final = 20
"""Times as long as a trial costs more than a round of the faster way, until the next one."""

UNMEASURED: Final = -1
"""In place of the time at which a round was frozen."""


class MergeMode(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a round is merged in slices or by one leader, and what rounds take: milliseconds with one leader
    (`leader_ms`) and in slices (`sliced_ms`); 0: unknown.

    `sliced`: how round `round` is to be merged, -1 before the first one. `frozen_ms`: when its contributors were fixed;
    0 before that, and `UNMEASURED` where nothing is to be learned from it. `tried`: the last round that was merged in
    the slower way.
    """

    leader_ms: int = 0
    sliced_ms: int = 0
    tried: int = 0
    round: int = -1
    sliced: bool = False
    frozen_ms: int = 0

    @property
    def is_measured(self) -> bool:
        """True while it is being measured how long the round takes."""
        return self.frozen_ms > 0

    def decided(self, number: int, fetched: int, by_links_ms: int | None) -> "MergeMode":
        """That of round `number`, in which a leader alone would fetch so many bytes; see `ms_of_one`."""
        sliced = self._prefers_slices(number, fetched, by_links_ms)
        return msgspec.structs.replace(self, round=number, sliced=sliced, frozen_ms=0)

    def frozen(self, now_ms: int, *, sliced: bool, comparable: bool) -> "MergeMode":
        """The contributors are fixed, and the round is merged in this way; `comparable`: it could be in either."""
        return msgspec.structs.replace(self, sliced=sliced, frozen_ms=now_ms if comparable else UNMEASURED)

    def without_slices(self, number: int) -> "MergeMode":
        """This round begins again, and one leader merges it."""
        return msgspec.structs.replace(self, round=number, sliced=False, frozen_ms=0)

    def measured(self, now_ms: int) -> "MergeMode":
        """All hold the result. Of what was known before half counts, and nothing where it was more: a round that an
        outage has held up is forgotten with the next one of its way."""
        took, before = max(1, now_ms - self.frozen_ms), self.sliced_ms if self.sliced else self.leader_ms
        mean = (took + before + 1) // 2 if 0 < before < took else took
        times = {"sliced_ms": mean} if self.sliced else {"leader_ms": mean}
        after = msgspec.structs.replace(self, frozen_ms=UNMEASURED, **times)
        slower = self.sliced != (after.sliced_ms < after.leader_ms)
        if after.leader_ms and after.sliced_ms and (slower or not before):
            after = msgspec.structs.replace(after, tried=self.round)
        return after

    def _prefers_slices(self, number: int, fetched: int, by_links_ms: int | None) -> bool:
        if not self.leader_ms and not self.sliced_ms:
            return fetched >= FIRST_BYTES
        faster = not self.leader_ms or 0 < self.sliced_ms < self.leader_ms
        return faster != self._tries_other(number, faster, by_links_ms)

    def _tries_other(self, number: int, faster: bool, by_links_ms: int | None) -> bool:
        """True if the way that is not the `faster` one (slices?) is due for a trial."""
        took, other = (self.sliced_ms, self.leader_ms) if faster else (self.leader_ms, self.sliced_ms)
        if took <= WORTH_MS or (faster and (by_links_ms is None or by_links_ms >= took)):
            return False
        return not other or number - self.tried >= max(RETRY, TRIALS * (other - took) // took)


def ms_of_one(links: Sequence[Link], size: int, sites: int) -> int | None:
    """Milliseconds that one leader needs, where links are as most of these are stated: it takes in the models of all
    other `sites`, of `size` bytes, and gives each the result. None where no link is known."""
    known = [each.capacity for each in links if each.capacity]
    return 2000 * size * (sites - 1) // median_low(known) if known else None
