"""Actions bound to the life of a process: after a crash none of them happens, while it is frozen all wait."""

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
        """Starts the process."""
        self.life += 1
        self.alive, self.frozen = True, False
        self._parked = []

    @property
    def time(self) -> float:
        """Returns the seconds that its own clock shows."""
        return self.offset + self.rate * self.clock.now

    def at(self, seconds: float, thunk: Thunk) -> None:
        """Calls `thunk` later by its own clock, if this process still lives; if it is frozen, when it goes on."""
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
        """Ends the freeze: what was due happens now."""
        self.frozen = False
        for thunk in self._parked:
            self.clock.after(0.0, thunk)
        self._parked = []
