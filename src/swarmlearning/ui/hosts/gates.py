"""Nodes wait for those before them, also on other hosts."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from swarmlearning.ui.hosts.machine import MachineError

T = TypeVar("T")
NOT_RUNNING: Final = "{name}, which has to run before, does not; what it said stands at its host"


class Gates(Generic[T]):
    """One gate for each node: open once it runs, with what it has reported, or shut for good where it will not run.
    `shut` says so of a `{name}`."""

    def __init__(self, names: Iterable[str], shut: str = NOT_RUNNING) -> None:
        self._shut = shut
        self._decided = {name: asyncio.Event() for name in names}
        self._reports: dict[str, T] = {}

    def open(self, name: str, report: T) -> None:
        """This node runs."""
        self._reports[name] = report
        self._decided[name].set()

    async def passed(self, name: str) -> T:
        """Waits until this node runs; returns its report. Raises `MachineError` where it will not."""
        await self._decided[name].wait()
        if name not in self._reports:
            raise MachineError(self._shut.format(name=name))
        return self._reports[name]

    @contextmanager
    def responsible(self, names: Iterable[str]) -> Iterator[None]:
        """Whatever ends the block: of these nodes those that do not run then will not, and nobody waits for them."""
        try:
            yield
        finally:
            for name in names:
                self._decided[name].set()
