"""One model on its way, measured: by which link it comes, how much has come, which sources were tried in vain."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from swarmlearning.models.connections import Source
from swarmlearning.sl.stopwatch import Stopwatch, Work
from swarmlearning.views.times import Fault


class Links:
    """Use as a context manager around a fetch; what is still measured at its end was cancelled.

    `uids`: of the nodes at the sources. `moved` is called with the bytes of each step.
    """

    def __init__(self, watch: Stopwatch, uids: Mapping[Source, str], moved: Callable[[int], None]) -> None:
        self._watch = watch
        self._uids = uids
        self._moved = moved
        self._held = 0
        self._work: Work | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.arrived()

    def turn(self, source: Source) -> None:
        """This source is tried from now on; the one before it has failed."""
        self.failed("unreachable")
        self._work = self._watch.begin("fetch")
        self._work.uid, self._work.behind = self._uids.get(source, ""), len(source) > 2

    def progress(self, held: int) -> None:
        """So many bytes of the model are held now."""
        came = max(0, held - self._held)
        self._held = held
        self._moved(came)
        if self._work is not None:
            self._work.bytes += came

    def arrived(self) -> None:
        """The model is here."""
        self._end("")

    def failed(self, fault: Fault) -> None:
        """It does not come from there."""
        self._end(fault)

    def _end(self, fault: Fault) -> None:
        if self._work is not None:
            self._watch.end(self._work, fault)
            self._work = None
