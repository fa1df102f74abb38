"""Models that are in use now and must not be removed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock


class Pin:
    """Pins of one user. `add` may be called in any thread."""

    def __init__(self, counts: "Counter[str]", lock: Lock) -> None:
        self._counts = counts
        self._lock = lock
        self._digests: list[str] | None = []

    def add(self, digest: str) -> None:
        """Pins one more model, unless the pin has been released."""
        with self._lock:
            if self._digests is not None:
                self._digests.append(digest)
                self._counts[digest] += 1

    def release(self) -> None:
        """Removes all its pins."""
        with self._lock:
            for digest in self._digests or ():
                self._counts[digest] -= 1
                if not self._counts[digest]:
                    del self._counts[digest]
            self._digests = None


class Pins:
    """The pins of all users. Every method may be called in any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def hold(self, digests: Iterable[str]) -> Iterator[Pin]:
        """Pins these models, and those added to the pin, inside the block."""
        pin = Pin(self._counts, self._lock)
        try:
            for digest in digests:
                pin.add(digest)
            yield pin
        finally:
            pin.release()

    def unless_pinned(self, digest: str, remove: Callable[[str], None]) -> None:
        """Calls `remove` unless the model is pinned; it cannot be pinned meanwhile."""
        with self._lock:
            if digest not in self._counts:
                remove(digest)
