"""What a process does is bound to its life: after a crash nothing of it happens any more, while frozen all waits."""

from simulation.clock import Clock, Thunk


class Living:
    """A node's process; `life` counts its starts. Its own clock is `offset` seconds ahead at first, and goes `rate`
    times as fast as it should."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.offset, self.rate = 0.0, 1.0
        self.life = 0
        self.alive = self.frozen = False
        self._parked: list[Thunk] = []

    def begin(self) -> None:
        """The process starts."""
        self.life += 1
        self.alive, self.frozen = True, False
        self._parked = []

    @property
    def time(self) -> float:
        """Seconds that its own clock shows."""
        return self.offset + self.rate * self.clock.now

    def at(self, seconds: float, thunk: Thunk) -> None:
        """So much later by its own clock, if this process still lives; after it was frozen, when it goes on."""
        life = self.life

        def due() -> None:
            if not self.alive or self.life != life:
                return
            if self.frozen:
                self._parked.append(due)
            else:
                thunk()

        self.clock.soon(seconds / self.rate, due)

    def wake(self) -> None:
        """It is not frozen any more: what was due happens now."""
        self.frozen = False
        for thunk in self._parked:
            self.clock.after(0.0, thunk)
        self._parked = []
