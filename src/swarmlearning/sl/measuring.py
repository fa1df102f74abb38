"""How this SL spends its rounds: measured, kept in its diary, stated to operators, and served as metrics."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlearning.node.diary import Diary
from swarmlearning.node.follower import Follower
from swarmlearning.node.logfile import LogError
from swarmlearning.node.reading import OwnShelf
from swarmlearning.node.sealing import Wanted
from swarmlearning.sl.driver import Driver
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.views.times import Times

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Measuring:
    """`watch` measures; `shelf` is what operators may ask for, with this node's own `log`."""

    def __init__(self, directory: Path, log: Path) -> None:
        self._diary = Diary(directory)
        self.watch = Stopwatch(self._diary.add)
        self.shelf = OwnShelf(log, self._times)

    def add_metrics(self, follower: Follower, driver: Driver, registry: "CollectorRegistry") -> None:
        """Adds an SL's metrics: see `node.exposed.Add`."""
        from swarmlearning.sl.metrics import SlMetrics

        SlMetrics(registry, lambda: follower.chain, lambda: driver.contract, self.watch)

    async def _times(self, wanted: Wanted) -> Times:
        """What this node does now, and its records of the round that is wanted. Raises `LogError`."""
        if wanted.round is None:
            return self.watch.answer(())
        try:
            found = await asyncio.to_thread(self._diary.find, wanted.contract, wanted.round)
        except OSError as error:
            raise LogError(f"the diary cannot be read: {error.strerror}") from error
        return self.watch.answer(found)
