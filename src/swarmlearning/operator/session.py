"""An operator at work: a node of the network for as long as one command, or a session of commands, takes.

It verifies the chain as every node does, registers, sends, and leaves again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from swarmlearning import __version__
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.identity.certificates import Role, name_in, role_of
from swarmlearning.identity.signing import Signer
from swarmlearning.identity.source import IdentitySource
from swarmlearning.ledger.bodies import Leave, Register
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.ledger.world import World
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.commanding import SECONDS, catch_up, following, send
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower, Seen
from swarmlearning.node.renewing import LiveIdentity, send_own
from swarmlearning.node.sender import Author, Sender
from swarmlearning.node.signers import registered_signer
from swarmlearning.operator.acts import Act
from swarmlearning.views.proposals import ProposalView, proposal_of

logger = logging.getLogger("swarm.operator")

LEAVE_SECONDS = 5.0
"""The time that a session has to leave the network at its end; one that could not is a node without a lease."""


class Operator:
    """An operator at work; `perform` sends one act. It registers with the first: a refused command leaves no trace."""

    def __init__(self, follower: Follower, sender: Sender, own: LiveIdentity, role: Role) -> None:
        self._follower = follower
        self._sender = sender
        self._own = own
        self._role = role
        self._registered = False
        self._registering = asyncio.Lock()

    @property
    def chain(self) -> Chain:
        """The verified ledger as it stands."""
        return self._follower.chain

    @property
    def signer(self) -> Signer:
        """Signs with the certificate that the ledger has for this operator."""
        return registered_signer(self._own.signers, self.chain.world, self._sender.author.uid)

    @property
    def known(self) -> bool:
        """Whether the ledger knows this operator by its present certificate: nodes answer it, also once it has left."""
        found = network.node(self.chain.world, self._sender.author.uid)
        return found is not None and found.certificate == self._own.current.thumbprint

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

    async def perform(self, act: Act, on_behalf_of: str = "") -> int:
        """The height of the block in which the act stands; `on_behalf_of`: the person who has requested it.

        Raises `NodeError` with the ledger's reason.
        """
        await self.register()
        return await send(self._sender, act.contract, act.body, on_behalf_of)

    async def register(self) -> None:
        """Makes it a node of the network, unless it is one already. Raises `NodeError` with the ledger's reason."""
        async with self._registering:  # acts may be sent at the same time, by clients of the web mode
            if not self._registered:
                own = self._own.current
                name = name_in(own.certificate) or self._role
                body = Register(self._role, name, own.bundle, __version__, RULES_VERSION)
                await send(self._sender, network.CONTRACT, body)
                self._registered = True

    async def leave(self) -> None:
        """Ends the membership, if there is one."""
        if self._registered:
            with suppress(NodeError):  # who has just shut out its own certificate has left already
                await send(self._sender, network.CONTRACT, Leave())


async def sent(operator: Operator, compose: Callable[[World], Act], on_behalf_of: str = "") -> ProposalView | None:
    """Sends an act on the ledger as it stands now, for a person; returns the proposal that it becomes where more
    signatures are needed. Raises `UserError`."""
    act = compose((await operator.refresh()).world)
    await operator.perform(act, on_behalf_of)
    chain = operator.chain
    return proposal_of(chain.world, act.contract, act.body, chain.time_ms)


@asynccontextmanager
async def acting(
    address: str,
    source: IdentitySource,
    directory: Path,
    network_id: str = "",
    roles: Collection[Role] = OPERATORS,
    *,
    lasting: bool = False,
    checkpoints: Checkpoints | None = None,
    seen: Seen = lambda step: None,
) -> AsyncIterator[Operator]:
    """An operator, or whoever else has a certificate for one of these roles, named after it; `directory` keeps its UID.

    `network_id`: of the only network to act in, where it is known before the first contact. `lasting`: for as long as
    the block takes, with the identity that the source has by then; else it has to send within the time that a command
    has. `checkpoints`: in place of the one that is kept in `directory`; `seen` gets each block that is verified.

    Raises `NodeError`, `Unavailable` or `Refusal`.
    """
    own = LiveIdentity(source)
    path, role = own.current.cert_path, role_of(own.current.certificate)
    if role not in roles:
        raise NodeError(
            f"{path} is a certificate for {role}; an operator needs one whose name begins with SWCI- or "
            "UI- (or OPERATOR-; for trying out: swarm cert --node SWCI-1)"
        )
    with DataDirectory(directory, network_id) as place:
        follower = Follower([address], own.tls.client, place.pin, seen=seen)
        sender = Sender(Author(own.signers, place.uid, place.incarnation), follower, logger.warning)
        beside = [own.follow(sender.author, follower, partial(send_own, sender))] if lasting else []
        kept = checkpoints or Checkpoints(directory)
        async with following(follower, _unanswered(address), kept, place.network, beside) as limit:
            await catch_up(follower, limit)
            if lasting:
                limit.reschedule(None)
            operator = Operator(follower, sender, own, role)
            try:
                yield operator
            finally:
                if lasting:
                    limit.reschedule(asyncio.get_running_loop().time() + LEAVE_SECONDS)
                await operator.leave()


def _unanswered(address: str) -> str:
    return f"the SN at {address} did not answer within {SECONDS:.0f} s; name another one"
