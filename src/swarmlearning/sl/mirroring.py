"""Mirrors the curves of this node's training to experiment trackers, and keeps the model of the best round.

Runs beside the driver and follows the chain by itself: no round waits for it, and whatever goes wrong here is a line in
the log.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarmlearning.backoff import Backoff
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.models.store import TensorStore
from swarmlearning.node.follower import Follower
from swarmlearning.sl.curves import Curves
from swarmlearning.sl.driver import Driver
from swarmlearning.sl.keepbest import BestModel
from swarmlearning.sl.results import file_stem
from swarmlearning.tracking.mlflow import MlflowRun, MlflowServer
from swarmlearning.tracking.tensorboard import EventFile
from swarmlearning.tracking.tracker import Point, Tracker, TrackerError
from swarmlearning.views.curves import Measure
from swarmlearning.views.names import Names, displayed, node_names
from swarmlearning.views.render import mean_text

logger = logging.getLogger("swarm.curves")

MOST_WAITING: Final = 100_000
"""Points that wait for a tracker; beyond that the oldest are dropped."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
CLOSE_SECONDS: Final = 10.0
"""At the end of a training a tracker has so long to take what is left."""


@dataclass(frozen=True)
class Tracking:
    """What an SL's operator wants of its curves.

    `event_files`: the folder for TensorBoard; `mlflow`: the site's own server; `keep_best`: whether the best round's
    model is kept, `measure`: by what it is found, None: see `best_round`.
    """

    event_files: Path | None = None
    mlflow: MlflowServer | None = None
    keep_best: bool = False
    measure: Measure | None = None


NO_TRACKING: Final = Tracking()


@asynccontextmanager
async def mirrored(
    driver: Driver, follower: Follower, tracking: Tracking, uid: str, directory: Path
) -> AsyncIterator[None]:
    """Inside the block the driver's training is mirrored; at its end what is left is handed over, for `CLOSE_SECONDS`
    at most. `uid`: this node's; `directory`: its data directory."""
    mirror = Mirror(tracking, uid, directory, driver.store, lambda: node_names(follower.chain.world))
    driver.delivering = mirror.delivered
    task = asyncio.ensure_future(_follow(mirror, driver, follower))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await mirror.look(state_of(follower.chain.world, driver.contract))
        await mirror.close()


async def _follow(mirror: "Mirror", driver: Driver, follower: Follower) -> None:
    async for chain in follower.chains():
        if driver.contract:
            await mirror.look(state_of(chain.world, driver.contract))


class Mirror:
    """Takes states of a contract; one run of it at a time."""

    def __init__(
        self, tracking: Tracking, uid: str, directory: Path, store: TensorStore, names: Callable[[], Names]
    ) -> None:
        self._tracking = tracking
        self._uid = uid
        self._directory = directory
        self._store = store
        self._names = names
        self._run: _Run | None = None

    async def look(self, state: Training) -> None:
        """Hands on what this state shows; some may be skipped."""
        if self._uid not in state.members:
            return
        if self._run is not None and self._run.key != (state.name, state.run):
            await self.close()
        run = self._begun(state)
        run.add(run.curves.new(state, self._names(), time.time_ns() // 10**6))
        run.complete = state.settled
        if run.best is not None:
            await asyncio.to_thread(run.keep_best, run.best)

    def delivered(self, state: Training) -> None:
        """This site holds the result of this state, and trains from it next."""
        if self._tracking.keep_best and state.result is not None:
            run = self._begun(state)
            if run.key == (state.name, state.run):
                run.stands(state.result.closed.number, state.result.digest)

    async def close(self) -> None:
        """Ends the run in progress."""
        if self._run is not None:
            run, self._run = self._run, None
            await run.close()

    def _begun(self, state: Training) -> "_Run":
        if self._run is None:
            self._run = self._made(state, self._names().get(self._uid, self._uid))
            self._run.start()
        return self._run

    def _made(self, state: Training, site: str) -> "_Run":
        stem, contract = file_stem(state.name, state.run), displayed(state.name)
        trackers: list[Tracker] = []
        if self._tracking.event_files is not None:
            trackers.append(EventFile(self._tracking.event_files / stem))
        if self._tracking.mlflow is not None:
            tags = {"swarm.contract": contract, "swarm.run": str(state.run), "swarm.site": site}
            kept = self._directory / f"mlflow-{stem}"
            trackers.append(MlflowRun(self._tracking.mlflow, contract, f"{site}, run {state.run}", tags, kept))
        curves, best = Curves(self._uid, self._tracking.measure), None
        if self._tracking.keep_best:
            try:
                best = BestModel(self._directory, stem, self._store)
            except OSError as error:
                logger.warning("SL_KEEP_BEST: the best model cannot be kept in %s: %s", error.filename, error.strerror)
            if best and best.kept:
                curves.known(best.kept.mean)
        return _Run((state.name, state.run), curves, trackers, best)


class _Run:
    """One run of a contract: its curves, its trackers, its best model. `complete`: its training is over."""

    def __init__(
        self, key: tuple[str, int], curves: Curves, trackers: Sequence[Tracker], best: BestModel | None
    ) -> None:
        self.key = key
        self.curves = curves
        self.best = best
        self.complete = False
        self._posts = [Post(each) for each in trackers]

    def start(self) -> None:
        """Begins to hand points over."""
        for post in self._posts:
            post.start()

    def add(self, points: Sequence[Point]) -> None:
        """Hands these over, when trackers take them."""
        for post in self._posts:
            post.add(points)

    def stands(self, number: int, digest: str) -> None:
        """The result of this round may be the best."""
        if self.best is not None:
            try:
                self.best.stands(number, digest)
            except OSError as error:
                self._give_up(self.best, error)

    def keep_best(self, best: BestModel) -> None:
        """Keeps the best model, if there is another one now. Blocks."""
        try:
            if (mean := self.curves.best) is not None and best.keep(mean):
                logger.info("The best model so far is kept in %s: %s", best.path, mean_text(mean))
        except OSError as error:
            self._give_up(best, error)

    def _give_up(self, best: BestModel, error: OSError) -> None:
        logger.warning("SL_KEEP_BEST: the best model cannot be kept in %s: %s", best.path.parent, error.strerror)
        self.best = None

    async def close(self) -> None:
        """Hands over what is left."""
        await asyncio.gather(*(post.close(complete=self.complete) for post in self._posts))
        if self.best is not None:
            await asyncio.to_thread(self.best.close)


class Post:
    """Hands points to one tracker, in a task of its own: again and again while it does not take them."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._waiting: list[Point] = []
        self._more = asyncio.Event()
        self._ended = False
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to hand over."""
        self._task = asyncio.ensure_future(self._run())

    def add(self, points: Sequence[Point]) -> None:
        """Hands these over, when the tracker takes them."""
        if points:
            self._waiting = [*self._waiting, *points][-MOST_WAITING:]
            self._more.set()

    async def close(self, *, complete: bool) -> None:
        """Waits a while until all is handed over, and ends the tracker's run."""
        self._ended = True
        self._more.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting:
            logger.warning("%d points of the curves were not handed over. %s", len(self._waiting), self._said)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._tracker.close(complete=complete and not self._waiting)
        except TrackerError as error:
            self._warn(str(error))
        except TimeoutError:
            self._warn("a tracker of the curves does not answer")

    async def _run(self) -> None:
        attempts = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        async for _ in attempts:
            try:
                while not self._ended or self._waiting:
                    await self._hand_over()
                    attempts.reset()
                return
            except TrackerError as error:
                self._warn(f"{error}; trying again")

    async def _hand_over(self) -> None:
        await self._more.wait()
        points, self._waiting = self._waiting, []
        try:
            if points:
                await self._tracker.add(points)
        except BaseException:
            self._waiting = [*points, *self._waiting][-MOST_WAITING:]
            raise
        if not self._waiting:
            self._more.clear()
        self._said = ""

    def _warn(self, text: str) -> None:
        """Once for as long as it stays the same."""
        if text != self._said:
            logger.warning("Curves: %s", text)
        self._said = text
