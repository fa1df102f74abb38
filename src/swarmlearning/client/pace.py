"""The speed of local training, and the time that the remaining epochs need."""

import math
from time import monotonic

WINDOW = 10.0  # seconds: what was longer ago hardly counts for the speed


class Pace:
    """Counts batches, samples and epochs; time-keeping costs about a microsecond a batch.

    The speed is that of training alone: the time of syncs does not count. The estimate uses the mean of everything
    since the first batch, syncs included; it begins with the second epoch, when the length of one is known.
    """

    def __init__(self, total_epochs: int) -> None:
        """`total_epochs` planned; 0 where that is not known."""
        self.total_epochs = total_epochs
        self.steps = self.epochs = 0
        self._in_epoch = 0  # steps
        self._started = self._last = math.nan
        self._batches = self._samples = self._seconds = 0.0  # each worth less the longer ago

    def resume(self) -> None:
        """Starts the clock: training begins, or goes on after a sync."""
        self._last = monotonic()
        if math.isnan(self._started):
            self._started = self._last

    def step(self, samples: int, batches: int = 1) -> None:
        """Counts batches that are done, and their samples together (0: not known)."""
        now = monotonic()
        elapsed, self._last = now - self._last, now
        keep = math.exp(-elapsed / WINDOW)
        self._batches = keep * self._batches + batches
        self._samples = keep * self._samples + samples
        self._seconds = keep * self._seconds + elapsed
        self.steps += batches
        self._in_epoch += batches

    def epoch(self) -> None:
        """Counts an epoch that is done."""
        self.epochs += 1
        self._in_epoch = 0

    @property
    def batches_per_second(self) -> float | None:
        """Batches trained per second; None before the first batch."""
        return self._batches / self._seconds if self._seconds > 0 else None

    @property
    def samples_per_second(self) -> float | None:
        """Samples trained per second; None where their number is not known."""
        return self._samples / self._seconds if self._seconds > 0 and self._samples else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the planned epochs are done; None where that is not known."""
        if not self.epochs or not self.total_epochs:
            return None
        in_an_epoch = (self.steps - self._in_epoch) / self.epochs
        if not in_an_epoch:
            return None
        left = self.total_epochs - self.epochs - self._in_epoch / in_an_epoch
        return max(0.0, (self._last - self._started) / self.steps * left * in_an_epoch)

    def __str__(self) -> str:
        return describe(
            self.epochs, self.total_epochs, self.batches_per_second, self.samples_per_second, self.eta_seconds
        )


def describe(
    epochs: int,
    total_epochs: int,
    batches_per_second: float | None,
    samples_per_second: float | None,
    eta_seconds: float | None,
) -> str:
    """Returns a text such as "epoch 3 of 10, 1,958 samples/s, about 0:03:12 to go"."""
    parts = [f"epoch {min(epochs + 1, total_epochs)} of {total_epochs}" if total_epochs else f"epoch {epochs + 1}"]
    if samples_per_second is not None:
        parts.append(f"{samples_per_second:,.0f} samples/s")
    elif batches_per_second is not None:
        parts.append(f"{batches_per_second:,.1f} batches/s")
    if eta_seconds is not None:
        minutes, seconds = divmod(round(eta_seconds), 60)
        parts.append(f"about {minutes // 60}:{minutes % 60:02}:{seconds:02} to go")
    return ", ".join(parts)
