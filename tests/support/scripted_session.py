"""A session of SWCI whose network is a ledger in memory: its commands act there at once, and time is virtual."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from support.carried import CarryingSn
from support.operations import Operations
from support.virtual_time import run_in_virtual_time
from swarmlearning.api.client import Refusal
from swarmlearning.identity.signing import Signer
from swarmlearning.identity.source import IdentitySource
from swarmlearning.ledger.bodies import Assign, Body
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.acts import Act
from swarmlearning.operator.link import Link
from swarmlearning.operator.session import Operator
from swarmlearning.swci.contexts import OTHER_TASK_MINUTES, RUN_TASK_MINUTES
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
        self.after: Callable[[Operations, Body], None] = lambda operations, body: None
        self.clients: list[CarryingSn] = []

    @property
    def chain(self) -> Chain:
        return self.operations.ledger.chain

    @property
    def client(self) -> Self:
        """Stands for the SN, too."""
        return self

    @property
    def signer(self) -> Signer:
        return self.operations.ledger.actors[self._uid].signer

    async def register(self) -> None:
        """It is registered."""

    async def status(self) -> dict[str, Any]:
        nodes = [{"uid": each.uid, "alive": each.alive and not each.left} for each in network.nodes(self.chain.world)]
        return {"nodes": nodes, "sns": [{"part": "voter"}]}

    async def refresh(self) -> Chain:
        return self.chain

    async def until(self, reached: Callable[[Chain], bool]) -> Chain:
        async with self._changed:
            await self._changed.wait_for(lambda: reached(self.chain))
        return self.chain

    async def perform(self, act: Act, on_behalf_of: str = "") -> int:
        try:
            self.operations.send(self._uid, act.body, act.contract)
        except Rejection as rejection:
            refusal = Refusal(rejection.code, rejection.detail, self.chain.height)
            raise NodeError(f"the network refuses it: {refusal}") from refusal
        self.after(self.operations, act.body)
        return self.chain.height

    async def happens(self, event: Callable[[Operations], None]) -> None:
        async with self._changed:
            event(self.operations)
            self._changed.notify_all()


class LedgerSession(Session):
    """A session for which every address is that of an SN of this ledger."""

    def __init__(self, operator: LedgerOperator, folder: Path, *, web: bool = False) -> None:
        super().__init__(SessionSettings(cast(IdentitySource, None), folder, folder, web=web))
        self.operator = operator

    async def probe(self, address: str) -> dict[str, Any]:
        return {"network": "test", "network_id": "0" * 64, "version": "0"}

    def link(self, address: str, network_id: str) -> Link:
        return cast(Link, _LedgerLink(self.operator))


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
    """What a script shows, of an operator of this ledger in a context of its network, while these events happen."""
    limits = (f"SET CONTEXT ENV {name} {minutes}" for name in (RUN_TASK_MINUTES, OTHER_TASK_MINUTES))
    before = ["CREATE CONTEXT c WITH IP sn1", "SWITCH CONTEXT c", *limits]

    async def run() -> str:
        operator = LedgerOperator(operations, uid)
        session = LedgerSession(operator, Path())
        await _shown(session, before)
        session.number = 0
        happening = asyncio.create_task(_happen(operator, events))
        text = await _shown(session, script.splitlines())
        happening.cancel()
        return text

    return run_in_virtual_time(run())


def play_alone(operations: Operations, script: str, folder: Path) -> str:
    """What a script of this folder shows, where the SWOPs of the ledger carry out at once what is assigned."""

    async def run() -> str:
        operator = LedgerOperator(operations, "op-1")
        operator.after = _carry_out
        return await _shown(LedgerSession(operator, folder), script.splitlines())

    return run_in_virtual_time(run())


async def _shown(session: Session, lines: Sequence[str]) -> str:
    stream = io.StringIO()
    await run_script(session, Screen(session, stream, notes=False), lines)
    return stream.getvalue()


def _carry_out(operations: Operations, body: Body) -> None:
    if not isinstance(body, Assign):
        return
    for peer in operations.runner.peers:
        if operations.runner.short:
            operations.carry_out(peer.uid, "enrolled", "running", "complete")


async def _happen(operator: LedgerOperator, events: tuple[Event, ...]) -> None:
    now = 0.0
    for at, event in events:
        await asyncio.sleep(at - now)
        now = at
        await operator.happens(event)
