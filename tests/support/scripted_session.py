"""A session of SWCI whose network is a ledger in memory: its commands act there at once, and time is virtual."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

from support.operations import Operations
from support.virtual_time import run_in_virtual_time
from swarmlearning.api.client import Refusal
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import Operator
from swarmlearning.swci.contexts import OTHER_TASK_MINUTES, RUN_TASK_MINUTES, Context
from swarmlearning.swci.link import Link
from swarmlearning.swci.session import Session, SessionSettings
from swarmlearning.swci.shell import Screen, run_script

T = TypeVar("T")
Event = tuple[float, Callable[[Operations], None]]
"""What happens on the ledger so many seconds after the script has begun."""


class LedgerOperator:
    """The operator `uid` of a ledger; `happens` tells it that something has changed there."""

    def __init__(self, operations: Operations, uid: str) -> None:
        self.operations = operations
        self._uid = uid
        self._changed = asyncio.Condition()

    @property
    def chain(self) -> Chain:
        return self.operations.ledger.chain

    async def refresh(self) -> Chain:
        return self.chain

    async def until(self, reached: Callable[[Chain], bool]) -> Chain:
        async with self._changed:
            await self._changed.wait_for(lambda: reached(self.chain))
        return self.chain

    async def perform(self, act: Act) -> int:
        try:
            self.operations.send(self._uid, act.body, act.contract)
        except Rejection as rejection:
            refusal = Refusal(rejection.code, rejection.detail, self.chain.height)
            raise NodeError(f"the network refuses it: {refusal}") from rejection
        return self.chain.height

    async def happens(self, event: Callable[[Operations], None]) -> None:
        async with self._changed:
            event(self.operations)
            self._changed.notify_all()


class _LedgerLink:
    """A link to that ledger, which is always there."""

    def __init__(self, operator: LedgerOperator) -> None:
        self._operator = operator

    @property
    def chain(self) -> Chain:
        return self._operator.chain

    async def use(self, work: Callable[[Operator], Awaitable[T]]) -> T:
        return await work(cast(Operator, self._operator))

    async def close(self) -> None:
        """Nothing is open."""


def play(operations: Operations, script: str, *events: Event, uid: str = "op-1", minutes: int = 1) -> str:
    """What a script shows, of an operator of this ledger, while these events happen."""

    async def run() -> str:
        operator, stream = LedgerOperator(operations, uid), io.StringIO()
        session = Session(SessionSettings(cast(Identity, None), Path(), Path()))
        link = cast(Link, _LedgerLink(operator))
        limits = {RUN_TASK_MINUTES: str(minutes), OTHER_TASK_MINUTES: str(minutes)}
        session.contexts.add(Context("c", "sn:1", False, "test", "0" * 64, "0", link, limits))
        session.contexts.switch("c")
        happening = asyncio.create_task(_happen(operator, events))
        await run_script(session, Screen(session, stream, notes=False), script.splitlines())
        happening.cancel()
        return stream.getvalue()

    return run_in_virtual_time(run())


async def _happen(operator: LedgerOperator, events: tuple[Event, ...]) -> None:
    now = 0.0
    for at, event in events:
        await asyncio.sleep(at - now)
        now = at
        await operator.happens(event)
