"""One model on its way, measured: by which links it comes, how much has come, which sources were tried in vain."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from swarmlearning.models.connections import Source
from swarmlearning.sl.stopwatch import Stopwatch, Work
from swarmlearning.views.times import Fault


class Links:
    """A `Watcher` of a download, and a context manager around it; what is still measured at its end was cancelled.

    `uids`: of the nodes at the sources. `moved` is called with the bytes of each step.
    """

    def __init__(self, watch: Stopwatch, uids: Mapping[Source, str], moved: Callable[[int], None]) -> None:
        self._watch = watch
        self._uids = uids
        self._moved = moved
        self._works: dict[Source, Work] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended()

    def asked(self, source: Source) -> None:
        """This source is asked from now on, perhaps beside others."""
        work = self._works[source] = self._watch.begin("fetch")
        work.uid, work.behind = self._uids.get(source, ""), len(source) > 2

    def brought(self, source: Source, size: int) -> None:
        """So many bytes more of the model have come from there."""
        self._moved(size)
        if source in self._works:
            self._works[source].bytes += size

    def left(self, source: Source, fault: Fault | None) -> None:
        """It is not asked any more; for this fault, if it has one."""
        if (work := self._works.pop(source, None)) is not None:
            self._watch.end(work, fault or "")

    def ended(self, fault: Fault = "") -> None:
        """The model is here, or will not come, for this fault of the node itself."""
        for source in tuple(self._works):
            self.left(source, fault)
