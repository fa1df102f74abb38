"""A context's connection to its network: made when a command first needs it, and kept for those after it.

It is an operator at work (`operator/session.py`) in a task of its own. Whatever ends that task, such as a revoked
certificate, ends the command in progress with its reason; the next command connects anew.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from swarmlearning.identity.source import IdentitySource
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.datadir import InUseError
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.session import Operator, acting

T = TypeVar("T")
MOST_SESSIONS: Final = 16
"""Contexts of one identity that are connected to one network at once, on one host."""

Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Operator]]


class Link:
    """Use as often as needed; `close` at the end."""

    def __init__(self, connect: Open) -> None:
        self._connect = connect
        self._task: asyncio.Task[None] | None = None
        self._operator: asyncio.Future[Operator] | None = None
        self._ended = asyncio.Event()

    @property
    def chain(self) -> Chain:
        """The verified ledger as far as it is known here; empty before the first use."""
        opened = self._operator
        return opened.result().chain if opened is not None and opened.done() else Chain()

    async def use(self, work: Callable[[Operator], Awaitable[T]]) -> T:
        """What `work` returns. Raises what it raises, and whatever ends the connection meanwhile."""
        task, opened = self._opened()
        operator = await self._first(task, asyncio.shield(opened))
        return await self._first(task, work(operator))

    async def close(self) -> None:
        """Leaves the network, if it was joined."""
        self._ended.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _opened(self) -> tuple["asyncio.Task[None]", "asyncio.Future[Operator]"]:
        if self._task is None or self._operator is None or self._task.done():
            self._operator = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._hold(self._operator))
        return self._task, self._operator

    async def _hold(self, opened: "asyncio.Future[Operator]") -> None:
        async with self._connect() as operator:
            opened.set_result(operator)
            await self._ended.wait()

    @staticmethod
    async def _first(task: "asyncio.Task[None]", work: Awaitable[T]) -> T:
        """The result of the work, unless the connection ends before."""
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            task.result()
            raise NodeError("the connection to the network is closed")
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


@asynccontextmanager
async def operating(address: str, source: IdentitySource, home: Path, network_id: str) -> AsyncIterator[Operator]:
    """An operator for a session of commands, with the first of the folders below `home` that no other session uses.

    Raises `NodeError`, `Unavailable` or `Refusal`.
    """
    async with contextlib.AsyncExitStack() as stack:
        for number in range(1, MOST_SESSIONS + 1):
            folder = home / network_id[:16] / f"session-{number}"
            with contextlib.suppress(InUseError):
                operator = await stack.enter_async_context(acting(address, source, folder, network_id, lasting=True))
                break
        else:
            raise NodeError(f"{home}: {MOST_SESSIONS} sessions of this identity are open already; end one of them")
        yield operator
