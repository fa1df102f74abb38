"""A site's disk: which models are on it, and work that takes time, or stands still."""

import random
from dataclasses import dataclass
from functools import partial

from simulation.clock import Thunk
from simulation.life import Living


@dataclass
class Job:
    """Work with disk or network, until it is done or stopped."""

    thunk: Thunk
    silent: bool
    over: bool = False


class Store:
    """`held` and `corrupt` outlive the process; models are names."""

    def __init__(self, life: Living, dice: random.Random) -> None:
        self._life, self._dice = life, dice
        self.held: set[str] = set()
        self._parts: dict[str, float] = {}
        self.corrupt: set[str] = set()
        self.full = self.stuck = False
        self.slowness = 1
        self.begin()

    def begin(self) -> None:
        """A process of the site starts: nothing is under way."""
        self._fresh: set[str] = set()
        self._stalled: list[Job] = []
        self._busy = self._moved = 0

    # --- models -----------------------------------------------------------------------------------------------------

    @property
    def whole(self) -> set[str]:
        return self.held - self.corrupt

    def put(self, digest: str) -> None:
        """Adopted: protected from tidying until the machine knows of it."""
        self.held.add(digest)
        self._parts.pop(digest, None)
        self.corrupt.discard(digest)
        self._fresh.add(digest)

    def partial(self, digest: str) -> float:
        """How much of this model has come already, 0 to 1."""
        return self._parts.get(digest, 0.0)

    def put_part(self, digest: str, share: float) -> None:
        """This share of what was left of a model has come."""
        before = self.partial(digest)
        self._parts[digest] = before + share * (1.0 - before)

    def known(self, digest: str) -> None:
        """The machine knows of it."""
        self._fresh.discard(digest)

    def drop(self, digest: str) -> None:
        self.corrupt.discard(digest)
        self.held.discard(digest)

    def keep(self, digests: set[str]) -> None:
        """All others may leave."""
        self.held &= digests | self._fresh
        self._parts = {digest: part for digest, part in self._parts.items() if digest in digests}

    # --- work -------------------------------------------------------------------------------------------------------

    def job(self, seconds: float, thunk: Thunk, silent: bool = False) -> Job:
        """Work with disk or network that can be seen to move, if it is not `silent`."""
        self._busy += not silent
        job = Job(thunk, silent)
        self._life.at(self.slowness * seconds, lambda: self._due(job))
        return job

    def stop(self, job: Job) -> None:
        """Nothing comes of it any more."""
        if not job.over:
            job.over = True
            self._busy -= not job.silent

    def _due(self, job: Job) -> None:
        if self.stuck:
            self._stalled.append(job)
        elif not job.over:
            self.stop(job)
            job.thunk()

    def unstick(self) -> None:
        """The disk works again."""
        self.stuck = False
        stalled, self._stalled = self._stalled, []
        for job in stalled:
            self._life.at(self._dice.random(), partial(self._due, job))

    @property
    def moved(self) -> int:
        """Grows as long as any work moves."""
        if self._busy and not self.stuck:
            self._moved = int(self._life.clock.now * 1000) + 1
        return self._moved
