"""An operator at work: a node of the network for as long as one command, or a session of commands, takes.

It verifies the chain as every node does, registers, sends, and leaves again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

from swarmlearning import __version__
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.identity.certificates import Role, common_name, role_of
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Leave, Register
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.commanding import SECONDS, catch_up, following, send
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender
from swarmlearning.operator.acts import Act

logger = logging.getLogger("swarm.operator")

LEAVE_SECONDS = 5.0
"""The time that a session has to leave the network at its end; one that could not is a node without a lease."""


class Operator:
    """An operator at work; `perform` sends one act. It registers with the first: a refused command leaves no trace."""

    def __init__(self, follower: Follower, sender: Sender, register: Register) -> None:
        self._follower = follower
        self._sender = sender
        self._register = register
        self._registered = False
        self._registering = asyncio.Lock()

    @property
    def chain(self) -> Chain:
        """The verified ledger as it stands."""
        return self._follower.chain

    @property
    def client(self) -> SnClient:
        """The SN in use."""
        return self._follower.client

    @property
    def clients(self) -> list[SnClient]:
        """All SNs known, the one in use first."""
        return self._follower.clients

    async def refresh(self) -> Chain:
        """The ledger with all blocks that an SN has now. Raises `Unavailable`, `Refusal` or `NodeError`."""
        left = len(self._follower.addresses)
        try:
            async with asyncio.timeout(SECONDS) as limit:
                while True:
                    used, left = self._follower.client, left - 1
                    try:
                        await catch_up(self._follower, limit)
                        return self.chain
                    except Unavailable:
                        if left <= 0:
                            raise
                        self._follower.leave(used)
        except TimeoutError:
            raise NodeError(_unanswered(self.client.address)) from None

    async def until(self, reached: Callable[[Chain], bool]) -> Chain:
        """Waits, without limit, until the ledger is so."""
        async with aclosing(self._follower.chains()) as chains:
            async for chain in chains:
                if reached(chain):
                    return chain
        raise AssertionError("chains never end")

    async def perform(self, act: Act) -> int:
        """The height of the block in which the act stands. Raises `NodeError` with the ledger's reason."""
        await self.register()
        return await send(self._sender, act.contract, act.body)

    async def register(self) -> None:
        """Makes it a node of the network, unless it is one already. Raises `NodeError` with the ledger's reason."""
        async with self._registering:  # acts may be sent at the same time, by clients of the web mode
            if not self._registered:
                await send(self._sender, network.CONTRACT, self._register)
                self._registered = True

    async def leave(self) -> None:
        """Ends the membership, if there is one."""
        if self._registered:
            with suppress(NodeError):  # who has just shut out its own certificate has left already
                await send(self._sender, network.CONTRACT, Leave())


@asynccontextmanager
async def acting(
    address: str,
    identity: Identity,
    directory: Path,
    network_id: str = "",
    roles: Collection[Role] = OPERATORS,
    *,
    lasting: bool = False,
) -> AsyncIterator[Operator]:
    """An operator, or whoever else has a certificate for one of these roles, named after it; `directory` keeps its UID.

    `network_id`: of the only network to act in, where it is known before the first contact. `lasting`: for as long as
    the block takes; else it has to send within the time that a command has.

    Raises `NodeError`, `Unavailable` or `Refusal`.
    """
    role = role_of(identity.certificate)
    if role not in roles:
        raise NodeError(
            f"{identity.cert_path} is a certificate for {role}; an operator needs one whose name begins with SWCI- or "
            "UI- (or OPERATOR-; for trying out: swarm cert --node SWCI-1)"
        )
    with DataDirectory(directory, network_id) as place:
        follower = Follower([address], client_context(identity), place.pin)
        async with following(follower, _unanswered(address), Checkpoints(directory), place.network) as limit:
            await catch_up(follower, limit)
            if lasting:
                limit.reschedule(None)
            sender = Sender(Author(identity.signer(), place.uid, place.incarnation), follower, logger.warning)
            name = common_name(identity.certificate) or role
            operator = Operator(follower, sender, Register(role, name, identity.bundle, __version__, RULES_VERSION))
            try:
                yield operator
            finally:
                if lasting:
                    limit.reschedule(asyncio.get_running_loop().time() + LEAVE_SECONDS)
                await operator.leave()


def _unanswered(address: str) -> str:
    return f"the SN at {address} did not answer within {SECONDS:.0f} s; name another one"
