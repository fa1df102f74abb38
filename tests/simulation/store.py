"""A site's disk: the models on it, and work that takes time or stalls."""

import random
from dataclasses import dataclass
from functools import partial

from simulation.clock import Thunk
from simulation.life import Living
from swarmlearning.rounds.events import Release, Released


@dataclass
class Job:
    """Work with disk or network, until it is done or stopped."""

    thunk: Thunk
    silent: bool
    begun: float
    seconds: float
    over: bool = False


class Store:
    """`held` and `corrupt` outlive the process, and so do `given` and `released`, what a privacy lock has given,
    `coded`, changes that were made without one, and `private`, the models of the site's own that it has not; models are
    names. `slices` are by recipe and index, `assembled` the model that was made of them. `statistics`, in a survey, of
    its own slices, and `gathered` from others, end with the process."""

    def __init__(self, life: Living, dice: random.Random) -> None:
        self._life, self._dice = life, dice
        self.held: set[str] = set()
        self.private: set[str] = set()
        self.given: list[str] = []
        self.released: dict[Release, Released] = {}
        self.coded: dict[Release, Released] = {}
        self._parts: dict[str, float] = {}
        self.slices: dict[str, dict[int, str]] = {}
        self.assembled: dict[str, str] = {}
        self.corrupt: set[str] = set()
        self.full = self.stuck = False
        self.slowness = 1
        self.begin()

    def begin(self) -> None:
        """Prepares for a new process of the site, with no work in progress."""
        self._fresh: set[str] = set()
        self.statistics: dict[tuple[str, int], str] = {}
        self.gathered: dict[tuple[str, int], str] = {}
        self._stalled: list[Job] = []
        self._busy = self._moved = 0

    # --- models -----------------------------------------------------------------------------------------------------

    @property
    def whole(self) -> set[str]:
        return self.held - self.corrupt

    def put(self, digest: str) -> None:
        """Adopts a model; it is protected from removal until the machine knows of it."""
        self.held.add(digest)
        self._parts.pop(digest, None)
        self.corrupt.discard(digest)
        self._fresh.add(digest)

    def partial(self, digest: str) -> float:
        """Returns the share of this model that has arrived already, 0 to 1."""
        return self._parts.get(digest, 0.0)

    def put_part(self, digest: str, share: float) -> None:
        """Adds this share of the part of a model that was missing."""
        before = self.partial(digest)
        self._parts[digest] = before + share * (1.0 - before)

    def known(self, digest: str) -> None:
        """Ends the protection of a model of which the machine knows."""
        self._fresh.discard(digest)

    def drop(self, digest: str) -> None:
        self.corrupt.discard(digest)
        self.held.discard(digest)

    def keep(self, digests: set[str]) -> None:
        """Keeps these models, and removes all others that are not protected."""
        self.held &= digests | self._fresh
        self._parts = {digest: part for digest, part in self._parts.items() if digest in digests}
        self.slices = {recipe: slices for recipe, slices in self.slices.items() if recipe in digests}
        self.assembled = {recipe: model for recipe, model in self.assembled.items() if model in self.held}

    def put_slice(self, recipe: str, index: int, root: str) -> None:
        """Adopts a slice."""
        self.slices.setdefault(recipe, {})[index] = root

    def has_slice(self, recipe: str, index: int, root: str) -> bool:
        """Returns whether it can be served, perhaps as a part of the model made of all."""
        return self.assembled.get(recipe) in self.whole or self.slices.get(recipe, {}).get(index) == root

    # --- work -------------------------------------------------------------------------------------------------------

    def job(self, seconds: float, thunk: Thunk, silent: bool = False) -> Job:
        """Does work with disk or network, whose progress can be seen unless it is `silent`."""
        self._busy += not silent
        job = Job(thunk, silent, self._life.clock.now, self.slowness * seconds)
        self._life.at(job.seconds, lambda: self._due(job))
        return job

    def stop(self, job: Job) -> None:
        """Cancels it: nothing comes of it any more."""
        if not job.over:
            job.over = True
            self._busy -= not job.silent

    def done(self, job: Job) -> float:
        """Returns the share of it that is done, 0 to 1; nothing of it while the disk is stuck."""
        elapsed = self._life.clock.now - job.begun
        return 0.0 if self.stuck or not job.seconds else min(1.0, elapsed / job.seconds)

    def _due(self, job: Job) -> None:
        if self.stuck:
            self._stalled.append(job)
        elif not job.over:
            self.stop(job)
            job.thunk()

    def unstick(self) -> None:
        """Makes the disk work again."""
        self.stuck = False
        stalled, self._stalled = self._stalled, []
        for job in stalled:
            self._life.at(self._dice.random(), partial(self._due, job))

    @property
    def moved(self) -> int:
        """Returns a number that grows as long as any work makes progress."""
        if self._busy and not self.stuck:
            self._moved = int(self._life.clock.now * 1000) + 1
        return self._moved
