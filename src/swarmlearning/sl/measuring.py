"""How this SL spends its rounds: measured, kept in its diary, stated to operators, served as metrics, and traced."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlearning.ledger.chain import Chain
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.diary import Diary
from swarmlearning.node.exposed import MetricsPlace, exposed
from swarmlearning.node.joining import Membership
from swarmlearning.node.logfile import LogError
from swarmlearning.node.reading import OwnShelf
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.sealing import Wanted
from swarmlearning.sl.driver import Driver
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.tracing import traced
from swarmlearning.views.times import Times

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Measuring:
    """`watch` measures; `shelf` is what operators may ask for, with this node's own `log`."""

    def __init__(self, directory: Path, log: Path) -> None:
        self._diary = Diary(directory)
        self.watch = Stopwatch(self._diary.add)
        self.shelf = OwnShelf(log, self._times)

    @asynccontextmanager
    async def observed(
        self,
        place: MetricsPlace | None,
        own: LiveIdentity,
        folder: DataDirectory,
        name: str,
        member: Membership,
        driver: Driver,
    ) -> AsyncIterator[dict[str, str]]:
        """Inside the block rounds are traced and metrics served, as far as that is configured; yields where."""

        def chain() -> Chain:
            return member.follower.chain

        add = partial(self._add_metrics, chain, driver)
        metrics = exposed(place, "SL", folder.uid, folder.path, own, chain, member, add)
        async with traced(self.watch, chain, folder.uid, name), metrics as served:
            yield served

    def _add_metrics(self, chain: Callable[[], Chain], driver: Driver, registry: "CollectorRegistry") -> None:
        from swarmlearning.sl.metrics import SlMetrics

        SlMetrics(registry, chain, lambda: driver.contract, self.watch)

    async def _times(self, wanted: Wanted) -> Times:
        """What this node does now, and its records of the round that is wanted. Raises `LogError`."""
        if wanted.round is None:
            return self.watch.answer(())
        try:
            found = await asyncio.to_thread(self._diary.find, wanted.contract, wanted.round)
        except OSError as error:
            raise LogError(f"the diary cannot be read: {error.strerror}") from error
        return self.watch.answer(found)
