"""A site's disk: which models are on it, and work that takes time, or stands still."""

import random

from simulation.clock import Thunk
from simulation.life import Living


class Store:
    """`held` and `corrupt` outlive the process; models are names."""

    def __init__(self, life: Living, dice: random.Random) -> None:
        self._life, self._dice = life, dice
        self.held: set[str] = set()
        self.corrupt: set[str] = set()
        self.full = self.stuck = False
        self.slowness = 1
        self.begin()

    def begin(self) -> None:
        """A process of the site starts: nothing is under way."""
        self._fresh: set[str] = set()
        self._stalled: list[Thunk] = []
        self._busy = self._moved = 0

    # --- models -----------------------------------------------------------------------------------------------------

    @property
    def whole(self) -> set[str]:
        return self.held - self.corrupt

    def put(self, digest: str) -> None:
        """Adopted: protected from tidying until the machine knows of it."""
        self.held.add(digest)
        self.corrupt.discard(digest)
        self._fresh.add(digest)

    def known(self, digest: str) -> None:
        """The machine knows of it."""
        self._fresh.discard(digest)

    def drop(self, digest: str) -> None:
        self.corrupt.discard(digest)
        self.held.discard(digest)

    def keep(self, digests: set[str]) -> None:
        """All others may leave."""
        self.held &= digests | self._fresh

    # --- work -------------------------------------------------------------------------------------------------------

    def job(self, seconds: float, thunk: Thunk, silent: bool = False) -> None:
        """Work with disk or network that can be seen to move, if it is not `silent`."""
        self._busy += not silent

        def done() -> None:
            if self.stuck:
                self._stalled.append(done)
            else:
                self._busy -= not silent
                thunk()

        self._life.at(self.slowness * seconds, done)

    def unstick(self) -> None:
        """The disk works again."""
        self.stuck = False
        for thunk in self._stalled:
            self._life.at(self._dice.random(), thunk)
        self._stalled = []

    @property
    def moved(self) -> int:
        """Grows as long as any work moves."""
        if self._busy and not self.stuck:
            self._moved = int(self._life.clock.now * 1000) + 1
        return self._moved
