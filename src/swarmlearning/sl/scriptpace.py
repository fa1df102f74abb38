"""What an SL sees of its script's training: when it last trained a batch, and how many are left until it hands over."""

import time
from collections.abc import Callable

from swarmlearning.channel.messages import Progress
from swarmlearning.views.times import Script


class ScriptPace:
    """`now` is in seconds of a clock that never goes back. A script that does not count its batches has trained 0."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._steps = self._begun_at = self._interval = 0
        self._seen = now()
        self._rate: float | None = None
        self._trains = False

    def trains(self, interval: int) -> None:
        """The script trains from now on, for so many batches."""
        self._begun_at, self._interval, self._seen, self._trains = self._steps, interval, self._now(), True

    def waits(self) -> None:
        """It does not."""
        self._trains = False

    def progress(self, message: Progress) -> None:
        """What it reports about once a second; a script that was started again counts from 0."""
        if message.steps != self._steps:
            self._seen = self._now()
        if message.steps < self._steps:
            self._begun_at = 0
        self._steps, self._rate = message.steps, message.batches_per_second

    def seen(self) -> Script:
        """What is known now."""
        idle_ms = round(1000 * (self._now() - self._seen)) if self._trains else 0
        counted = self._trains and self._steps > 0
        left = max(0, self._interval - (self._steps - self._begun_at)) if counted else None
        return Script(self._steps, max(0, idle_ms), left, self._rate)
