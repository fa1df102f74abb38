"""What a process does is bound to its life: after a crash nothing of it happens any more, while frozen all waits."""

from simulation.clock import Clock, Thunk


class Living:
    """A node's process; `life` counts its starts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.life = 0
        self.alive = self.frozen = False
        self._parked: list[Thunk] = []

    def begin(self) -> None:
        """The process starts."""
        self.life += 1
        self.alive, self.frozen = True, False
        self._parked = []

    def at(self, seconds: float, thunk: Thunk) -> None:
        """Later, if this process still lives; after it was frozen, when it goes on."""
        life = self.life

        def due() -> None:
            if not self.alive or self.life != life:
                return
            if self.frozen:
                self._parked.append(due)
            else:
                thunk()

        self.clock.soon(seconds, due)

    def wake(self) -> None:
        """It is not frozen any more: what was due happens now."""
        self.frozen = False
        for thunk in self._parked:
            self.clock.after(0.0, thunk)
        self._parked = []
