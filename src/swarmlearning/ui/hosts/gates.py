"""Nodes wait for those before them, also on other hosts."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from swarmlearning.ui.hosts.machine import MachineError

T = TypeVar("T")


class Gates(Generic[T]):
    """One gate for each node: open once it runs, with what it has reported, or shut for good where it will not run."""

    def __init__(self, names: Iterable[str]) -> None:
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
            raise MachineError(f"{name}, which has to run before, does not; what it said stands at its host")
        return self._reports[name]

    @contextmanager
    def responsible(self, names: Iterable[str]) -> Iterator[None]:
        """Whatever ends the block: of these nodes those that do not run then will not, and nobody waits for them."""
        try:
            yield
        finally:
            for name in names:
                self._decided[name].set()
