"""ML processes that make no progress: SLs report the batches of theirs with each heartbeat, and SNs show them."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.node.follower import Follower
from swarmlearning.swop.facts import Stalled
from swarmlearning.swop.managing import Attempt

logger = logging.getLogger("swarm.swop")

LONGEST_LOOK = 30.0
LOOKS = 4
"""So often within `hangSeconds` the progress is looked at."""


@dataclass(frozen=True)
class Watched:
    """A pair that runs, and the UID of its SL."""

    attempt: Attempt
    index: int
    sl_uid: str


class Progress:
    """Which pairs have trained no batch for so many seconds. Pure."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Watched, tuple[int, float]] = {}
        self._hang: set[Watched] = set()

    def note(self, batches: Mapping[Watched, int | None], now: float) -> list[Stalled]:
        """Returns the pairs that have begun to hang, or to go on.

        `batches`: for all pairs at work those trained so far; None for one that waits for others, or of which it is
        not known. `now`: seconds of a clock that never goes back.
        """
        self._since = {pair: known for pair, known in self._since.items() if pair in batches}
        self._hang &= batches.keys()
        news = []
        for pair, count in batches.items():
            known, since = self._since.get(pair, (-1, now))
            if count is None or count != known:
                self._since[pair] = (known if count is None else count, now)
                since = now
            hangs = now - since >= self._seconds
            if hangs != (pair in self._hang):
                (self._hang.add if hangs else self._hang.discard)(pair)
                news.append(Stalled(pair.attempt, pair.index, hangs))
        return news


async def watch_progress(
    seconds: float, follower: Follower, pairs: Callable[[], list[Watched]], tell: Callable[[Stalled], None]
) -> None:
    """Tells until cancelled which pairs hang: trained no batch for so many seconds, although they need not wait."""
    progress = Progress(seconds)
    while True:
        await asyncio.sleep(min(LONGEST_LOOK, seconds / LOOKS))
        watched = pairs()
        batches: dict[Watched, int | None] = dict.fromkeys(watched)
        if watched:
            try:
                nodes = (await follower.client.status())["nodes"]
                reported = {node["uid"]: node["progress"] for node in nodes}
                world = follower.chain.world
                for pair in watched:
                    batches[pair] = None if waits(world, pair.sl_uid) else reported.get(pair.sl_uid, 0)
            except (Unavailable, Refusal) as error:
                logger.debug("%s", error)
        for news in progress.note(batches, time.monotonic()):
            tell(news)


def waits(world: World, sl_uid: str) -> bool:
    """Whether the ML process of this SL has nothing to do at the moment: others are to act, or its training is over."""
    for training in world.area("training/", Training):
        member = training.members.get(sl_uid)
        if member is not None:
            submitted = training.round is not None and sl_uid in training.round.submissions
            return member.finished or training.over or submitted
    return False
