"""The comparison of this SN with the others, on the blocks and on the state after them.

Every SN replays every block by the same rules, so all must come to one state. Where they do not, the majority is
right: an SN that stands against it is damaged (its memory, its program) or on another chain, and ends. After an
operator has restarted the network from one survivor (`swarm sn recover`) the others are out, whatever they agree on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.block import Header
from swarmlearning.ledger.bodies import Recover
from swarmlearning.ledger.chain import Chain, is_sealed
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Recovery
from swarmlearning.ledger.contracts.network.recovery import Start, check_agreed
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.equivocation import KEPT, Seals
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.recent import State
from swarmlearning.sn.remote import Others

logger = logging.getLogger("swarm.SN")

COMPARE_SECONDS = 10.0
ANSWER_SECONDS = 5.0
MOST_COMPARED = 4
"""Other chains that are compared block by block."""

Propose = Callable[[str, Body], Awaitable[int]]
"""Submits a transaction to a contract. Raises `Rejection` or `OrderingError`."""


class Agreement:
    """Compares the SN `uid` with the others: every few seconds, and at once after a void block.

    `propose` sends what it finds to the ledger: that an SN has sealed two blocks for one height.
    """

    def __init__(self, uid: str, miner: Miner, others: Others, propose: Propose) -> None:
        self._uid = uid
        self._miner = miner
        self._others = others
        self._propose = propose
        self.alarm = ""

    async def run(self) -> None:
        """Compares until cancelled. Raises `NodeError` when this SN must not go on."""
        while True:
            await self._miner.wait_for_void_block(COMPARE_SECONDS)
            clients = self._others()
            recovery = await recovery_excluding(self._uid, self._miner.chain, clients)
            if recovery is not None:
                raise NodeError(
                    f"{_without(self._miner.chain, recovery)}. This SN has no part in it: start it again to join anew"
                )
            mine = self._miner.state(self._miner.chain.height)
            assert mine is not None
            states = await _states(mine.height, clients)
            await self._prove(mine, states)
            fault = judge(mine, [state for _, state in states])
            if fault.final:
                raise NodeError(fault.text)
            if fault.text and fault.text != self.alarm:
                logger.error("%s", fault.text)
            self.alarm = fault.text

    async def _prove(self, mine: State, states: Sequence[tuple[SnClient, State]]) -> None:
        """Sends a proof against the SN that has sealed two blocks, where another SN's chain parts from this one's."""
        seals = Seals()
        for client, _ in [each for each in states if each[1].hash != mine.hash][:MOST_COMPARED]:
            for raw in await self._miner.blocks(max(0, mine.height + 1 - KEPT), KEPT):
                seals.add(raw)
            if (proof := (await seals.parting(client)).proof) is not None:
                try:
                    await self._propose(network.CONTRACT, proof)
                except (Rejection, OrderingError) as error:
                    logger.warning("an SN has sealed two blocks for one height, which cannot be recorded: %s", error)
                return


class Fault(NamedTuple):
    """The fault found, empty when there is none; `final` when this SN is at fault."""

    text: str
    final: bool


def judge(mine: State, others: Sequence[State]) -> Fault:
    """The fault that this SN's state shows against those of the others that have answered, at one height."""
    against = [other for other in others if other != mine]
    if not against:
        return Fault("", final=False)
    what = "block" if any(other.hash != mine.hash for other in against) else "the state after block"
    text = f"{what} {mine.height} differs from that of {len(against)} of {len(others)} other SNs"
    if 2 * len(against) > len(others) + 1:
        return Fault(
            f"this SN is at fault: {text}. Start it again, so that it replays its chain; if that does not help, run "
            "`swarm sn repair` before",
            final=True,
        )
    return Fault(f"an SN is at fault, and there is no majority against one: {text}. Verify their chains", final=False)


async def recovery_excluding(uid: str, chain: Chain, clients: Sequence[SnClient]) -> Recovery | None:
    """The recovery that has restarted the network without the SN `uid`, proved by its sealed block; None without."""
    known = {recovery.height for recovery in network.recoveries(chain.world)}
    for client, reported in await _recoveries(clients):
        excluding = [each for each in reported if uid in each.lost and each.height not in known]
        if not excluding:
            continue
        newest = max(excluding, key=lambda each: each.height)  # one for each SN: a false list costs one request
        if await _is_proved(client, chain, newest):
            return newest
    return None


def _without(chain: Chain, recovery: Recovery) -> str:
    by = network.node(chain.world, recovery.by)
    return f"an operator has restarted the network from {by.name if by else recovery.by} at block {recovery.height}"


async def _is_proved(client: SnClient, chain: Chain, recovery: Recovery) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            block = chain.rules.read(await client.block(recovery.height))
    except (Unavailable, Refusal, TimeoutError, MalformedError) as error:
        logger.warning("%s reports a recovery and does not prove it: %s", client.address, error)
        return False
    sent = [signed.content.body for signed in block.transactions if signed.content.sender == recovery.by]
    return (
        block.header.network == chain.network_id
        and block.header.sealer == recovery.by
        and is_sealed(block, chain.world)
        and any(
            isinstance(body, Recover) and body.lost == recovery.lost and _is_agreed(chain, block.header, body)
            for body in sent
        )
    )


def _is_agreed(chain: Chain, header: Header, body: Recover) -> bool:
    """True if enough organisations have signed the recovery, by what this SN knows of them."""
    by = network.node(chain.world, header.sealer)
    start = Start(chain.network_id, header.sealer, header.height - 1, header.previous)
    try:
        check_agreed(chain.world, body, start, by.organisation if by else "", header.time_ms)
    except Rejection as lacking:
        logger.warning("block %d is no recovery of this network: %s", header.height, lacking)
        return False
    return True


async def _recoveries(clients: Sequence[SnClient]) -> list[tuple[SnClient, list[Recovery]]]:
    async def request(client: SnClient) -> list[Recovery]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return msgspec.convert((await client.status())["recoveries"], list[Recovery])
        except (Unavailable, Refusal, TimeoutError):
            return []

    return list(zip(clients, await asyncio.gather(*map(request, clients)), strict=True))


async def _states(height: int, clients: Sequence[SnClient]) -> list[tuple[SnClient, State]]:
    async def request(client: SnClient) -> list[tuple[SnClient, State]]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await client.state(height)
                return [(client, State(found.height, found.hash, found.state_hash))]
        except (Unavailable, Refusal, TimeoutError):
            return []

    return [state for answer in await asyncio.gather(*map(request, clients)) for state in answer]
