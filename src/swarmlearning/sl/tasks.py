"""The concurrent tasks of one node: those with a key can be cancelled, and the first that raises ends the node."""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any


class Tasks:
    """Belongs to one event loop. `ended` is done when the node has done its work, or a task has raised."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: set[asyncio.Task[None]] = set()
        self._keyed: dict[Hashable, asyncio.Task[None]] = {}

    def start(self, work: Coroutine[Any, Any, None], key: Hashable = None) -> None:
        """Runs `work`; what it raises becomes the result of `ended`."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._forget)
        if key is not None:
            self._keyed[key] = task
            task.add_done_callback(lambda done: self._keyed.pop(key) if self._keyed.get(key) is done else None)

    def cancel(self, key: Hashable) -> None:
        """Cancels the task of this key, if it still runs."""
        if task := self._keyed.pop(key, None):
            task.cancel()

    def finish(self, error: Exception | None = None) -> None:
        """Ends the node's work, with an error or in good order; only the first call counts."""
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)

    async def stop(self) -> None:
        """Cancels all tasks; returns when they have ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.finish(error)
