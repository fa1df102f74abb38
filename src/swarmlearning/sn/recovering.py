"""Restarting a network from one survivor, after the majority of its voters is lost for good: an operator's act.

What the survivor's etcd member has received and nobody else can confirm any more is copied into the chain file;
then the member's data is deleted, and one block is added in which this SN reports that the others have left. Started
again it founds a new etcd cluster from its chain file. The others are fenced by that block: they have no part in the
new cluster, and join anew when they are started (`agreement.py`).
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Recover
from swarmlearning.ledger.chain import Chain, ForkError, UnsupportedRulesError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.sender import Author
from swarmlearning.ordering.etcd.gateway import Gateway
from swarmlearning.ordering.etcd.log import EtcdLog
from swarmlearning.ordering.etcd.member import EtcdMember, nobody
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import Log
from swarmlearning.sn.leaving import registration
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.node import CHAIN_FILE, ETCD_FOLDER

ANSWER_SECONDS = 5.0


class Survey(NamedTuple):
    """The starting point of a recovery from this SN: its chain, itself, and the SNs it would go on without."""

    chain: Chain
    me: Node
    lost: list[Node]

    def statement(self) -> str:
        """The facts that an operator must know before, as text."""
        ended = datetime.fromtimestamp(self.chain.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        names = ", ".join(sorted(sn.name for sn in self.lost))
        return (
            f"The network would go on from this SN ({self.me.name}) alone, from block {self.chain.height} of {ended}\n"
            "or a later one, if its etcd holds any.\n"
            f"- Blocks after it that only the others ({names}) have are lost, with transactions that were "
            "acknowledged.\n"
            f"- {names} have no part in the network any more; started again, they join anew.\n"
            "- Nodes that have seen newer blocks end with an error and must be started again.\n"
            "- Do this on one SN only, and only if the majority will never return."
        )


async def survey(place: DataDirectory, identity: Identity) -> Survey:
    """The state that a recovery would start from; nothing is changed.

    Raises `NodeError` when recovery is not needed, not possible, or should be done on another SN.
    """
    with closing(LocalLog(place.path / CHAIN_FILE)) as file:
        chain = (await _loaded(file, place, identity)).chain
    me = network.node(chain.world, place.uid)
    if me is None or not network.admits(chain.world, place.uid):
        raise NodeError(f"{place.path}: this SN is no member of a network, so none can be restarted from it")
    lost = [sn for sn in network.admitted(chain.world) if sn.uid != place.uid]
    if not lost:
        raise NodeError("this is the network's only SN: start it again, there is nothing to recover from")
    for sn, status in await _answers(lost, identity):
        _check_needed(sn, status, chain.height)
    return Survey(chain, me, lost)


async def recover(place: DataDirectory, identity: Identity, binary: Path, found: Survey) -> int:
    """Gives the old order up and records that; returns the height of the block. Raises `OrderingError`."""
    with closing(LocalLog(place.path / CHAIN_FILE)) as file:
        await _take_over(file, place, identity, binary)
        miner = await _loaded(file, place, identity)
        author = Author(identity.signer(), place.uid, place.incarnation)
        sealing = asyncio.create_task(miner.run())
        try:
            for body in (registration(found.me, identity), Recover(lost=tuple(sn.uid for sn in found.lost))):
                height = await miner.submit(author.write(miner.chain, network.CONTRACT, body).raw)
        finally:
            sealing.cancel()
            await asyncio.gather(sealing, return_exceptions=True)
    shutil.rmtree(place.path / ETCD_FOLDER, ignore_errors=True)
    return height


async def _take_over(file: LocalLog, place: DataDirectory, identity: Identity, binary: Path) -> None:
    """Blocks that this SN's etcd member holds and the chain file does not. Read from a copy of its data: one that was
    forced to go on alone must never meet the others again."""
    copy = place.path / f"{ETCD_FOLDER}.alone"
    shutil.rmtree(copy, ignore_errors=True)
    member = EtcdMember(binary, copy, place.uid, nobody)
    try:
        if (place.path / ETCD_FOLDER).is_dir():
            shutil.copytree(place.path / ETCD_FOLDER, copy, ignore=shutil.ignore_patterns("*:0"))
        if member.has_data:
            await member.start(None, new=False, alone=True)
            await member.answers(led=True)
            gateway = Gateway(member.client_socket)
            try:
                await _loaded(EtcdLog(gateway, file, _no_archive), place, identity)
            finally:
                await gateway.close()
    finally:
        await member.stop()
        shutil.rmtree(copy, ignore_errors=True)


async def _no_archive(start: int, limit: int) -> list[bytes]:
    return []


async def _loaded(log: Log, place: DataDirectory, identity: Identity) -> Miner:
    miner = Miner(log, place.uid, identity.signer(), lambda: time.time_ns() // 1_000_000)
    try:
        await miner.load()
    except (ForkError, MalformedError, UnsupportedRulesError) as error:
        raise NodeError(f"{place.path / CHAIN_FILE}: {error}. Recover on another SN, or restore a copy") from error
    return miner


async def _answers(sns: Sequence[Node], identity: Identity) -> list[tuple[Node, dict[str, Any]]]:
    async def request(sn: Node) -> list[tuple[Node, dict[str, Any]]]:
        if "api" not in sn.addresses:
            return []
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                SnClient(sn.addresses["api"], client_context(identity)) as client,
            ):
                return [(sn, await client.status())]
        except (Unavailable, Refusal, TimeoutError):
            return []

    return [found for answer in await asyncio.gather(*map(request, sns)) for found in answer]


def _check_needed(sn: Node, status: dict[str, Any], height: int) -> None:
    if any(one["part"] == "voter" for one in status["sns"]):
        raise NodeError(
            f"recovery is not needed: {sn.name} answers, and there is a majority ({status['fault_tolerance']})"
        )
    if status["height"] > height:
        raise NodeError(
            f"{sn.name} has block {status['height']}, this SN only {height}: stop {sn.name} and recover from it"
        )
