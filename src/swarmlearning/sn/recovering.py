"""Restarting a network from one survivor: the majority of its voters is lost for good, or its authorities expired.

The recovery's policy may need signatures of other organisations. They are collected in a file (`recoveryfile.py`) under
the exact block from which the network goes on, so the first step only finds out which that is; nothing is changed.

Then, what the survivor's etcd member has received and nobody else can confirm any more is copied into the chain file;
then the member's data is deleted, and one block is added in which this SN reports that the others have left. Started
again it founds a new etcd cluster from its chain file. The others are fenced by that block: they have no part in the
new cluster, and join anew when they are started (`agreement.py`).
"""

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.identity.certificates import CertificateError, expires_ms, load_bundle
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.block import Block
from swarmlearning.ledger.bodies import AddAuthority, Body, Recover
from swarmlearning.ledger.chain import Chain, ForkError, UnsupportedRulesError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.network.recovery import Start, check_agreed, named_in
from swarmlearning.ledger.contracts.network.trust import read_certificate
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ledger.world import World
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.recoveryfile import RecoveryFile
from swarmlearning.node.sender import Author
from swarmlearning.ordering.etcd.binary import require_binary
from swarmlearning.ordering.etcd.gateway import Gateway
from swarmlearning.ordering.etcd.log import EtcdLog
from swarmlearning.ordering.etcd.member import EtcdMember, nobody
from swarmlearning.ordering.local import LocalLog, open_chain_file
from swarmlearning.ordering.protocols import Head, Log
from swarmlearning.sn.leaving import registration
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.node import CHAIN_FILE, ETCD_FOLDER

ANSWER_SECONDS = 5.0


class Survey(NamedTuple):
    """The starting point of a recovery from this SN: its whole chain, itself, the SNs it would go on without, and the
    authorities that would be added."""

    chain: Chain
    me: Node
    lost: list[Node]
    added: tuple[AddAuthority, ...]

    def text(self) -> str:
        """The facts that an operator must know before, as text."""
        ended = datetime.fromtimestamp(self.chain.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        names = ", ".join(sorted(sn.name for sn in self.lost))
        goes_on = (
            f"The network would go on from this SN ({self.me.name}) alone, from block {self.chain.height} of {ended}."
        )
        lines = [
            f"- Blocks after it that only the others ({names}) have are lost, and transactions that were acknowledged.",
            f"- {names} have no part in the network any more; started again, they join anew.",
            "- Nodes that have seen newer blocks end with an error and must be started again.",
            "- Do this on one SN only, and only if the majority will never return.",
        ]
        added = [f"- {each.organisation} gets a new authority." for each in self.added]
        return "\n".join([goes_on, *added, *(lines if self.lost else ())])

    def file(self) -> RecoveryFile:
        """The file for operators to sign."""
        named = named_in(self.chain.world, self.me.uid, [sn.uid for sn in self.lost])
        return RecoveryFile(
            network=self.chain.network_id,
            network_name=named.network,
            by=named.by,
            height=self.chain.height,
            block=self.chain.hash,
            time_ms=self.chain.time_ms,
            lost=named.lost,
            authorities=self.added,
        )

    def lacks(self, signed: RecoveryFile, identity: Identity) -> str:
        """The reason for which these signatures do not suffice; empty if they do."""
        start = Start(self.chain.network_id, self.me.uid, self.chain.height, self.chain.hash)
        time_ms = _sealing_time(self.chain, identity, signed.body)
        try:
            check_agreed(self.chain.world, signed.body, start, self.me.organisation, time_ms)
        except Rejection as lacking:
            return lacking.detail
        return ""


async def survey(place: DataDirectory, identity: Identity, added: Sequence[AddAuthority] = ()) -> Survey:
    """The state that a recovery would start from; nothing is changed. An authority `added` without an organisation is
    of this SN's own.

    Raises `NodeError` when recovery is not needed, not possible, or should be done on another SN; `OrderingError`.
    """
    with _copy_of(place.path / CHAIN_FILE) as file:
        chain = (await _loaded(file, place, identity)).chain
        me = survivor(chain.world, place)
        others = [sn for sn in network.admitted(chain.world) if sn.uid != place.uid]
        if not others and not added:
            raise NodeError("this is the network's only SN: start it again, there is nothing to recover from")
        for sn, status in await _answers(others, identity):
            _check_needed(sn, status, chain.height)
        chain = await _take_over(file, place, identity)
    lost = [sn for sn in network.admitted(chain.world) if sn.uid != place.uid]
    own = tuple(each if each.organisation else AddAuthority(me.organisation, each.anchor) for each in added)
    return Survey(chain, me, lost, own)


def survivor(world: World, place: DataDirectory) -> Node:
    """The SN of this data directory, if a network can be restarted from it. Raises `NodeError`."""
    me = network.node(world, place.uid)
    if me is not None and network.quarantine(world, me):
        raise NodeError(
            f"{place.path}: this SN ({me.name}) is in quarantine, so no block of its counts, and none that restarts "
            "the network: recover on another SN. Where no other one is left, found a new network; the final models lie "
            "in the results/ folders of the sites"
        )
    if me is None or not network.admits(world, place.uid):
        raise NodeError(f"{place.path}: this SN is no member of a network, so none can be restarted from it")
    return me


async def recover(place: DataDirectory, identity: Identity, found: Survey, agreed: RecoveryFile) -> int:
    """Gives the old order up and records that; returns the height of the block.

    Raises `NodeError`, before anything has changed, where the signatures do not suffice; `OrderingError`.
    """
    block = _sealed(place, identity, found, agreed.body)
    with closing(LocalLog(place.path / CHAIN_FILE)) as file:
        chain = await _take_over(file, place, identity)
        if chain.hash != found.chain.hash:
            raise NodeError("this SN's ledger has changed meanwhile; begin anew")
        await file.append(Head(chain.height, chain.hash), block.raw)
    shutil.rmtree(place.path / ETCD_FOLDER, ignore_errors=True)
    return block.header.height


def _sealed(place: DataDirectory, identity: Identity, found: Survey, body: Recover) -> Block:
    """The block in which this SN registers and records the recovery."""
    chain, author = found.chain, Author(identity.signer(), place.uid, place.incarnation)
    time_ms = _sealing_time(chain, identity, body)
    bodies: tuple[Body, ...] = (registration(found.me, identity), body)
    signed = [author.write(chain, network.CONTRACT, each) for each in bodies]
    world = chain.world
    try:
        for each in signed:
            world = chain.try_transaction(world, each, time_ms)
    except Rejection as refusal:
        raise NodeError(f"this recovery would be void on every node: {refusal}") from refusal
    return chain.seal(signed, world, time_ms, place.uid, identity.signer())


def _sealing_time(chain: Chain, identity: Identity, body: Recover) -> int:
    """Now, or the latest time at which the certificates of all who sign were trusted: an authority that has expired may
    still name its successor, in a block that no other will ever precede."""
    roots, now = network.authorities(chain.world), time.time_ns() // 1_000_000
    bundles = [identity.bundle, *(consent.certificate for consent in body.consents)]
    ends = [_expires_ms(bundle) for bundle in (*bundles, *(root.pem for root in roots))]
    for time_ms in sorted({now, *ends}, reverse=True):
        if chain.time_ms < time_ms <= now and all(_is_issued(bundle, roots, time_ms) for bundle in bundles):
            return time_ms
    return chain.next_time(now)


def _expires_ms(bundle: str) -> int:
    try:
        return expires_ms(load_bundle(bundle))
    except CertificateError:  # as somebody has sent it: the ledger refuses it and names the fault
        return 0


def _is_issued(bundle: str, roots: Sequence[network.Authority], time_ms: int) -> bool:
    try:
        read_certificate(bundle, roots, time_ms)
    except Rejection:
        return False
    return True


@contextmanager
def _copy_of(path: Path) -> Iterator[LocalLog]:
    """A copy of a chain file, in a folder that lasts as long. Raises `OrderingError`."""
    with tempfile.TemporaryDirectory(prefix="swarm-recover-") as folder:
        copy = Path(folder) / path.name
        with closing(open_chain_file(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        with closing(LocalLog(copy)) as file:
            yield file


async def _take_over(file: LocalLog, place: DataDirectory, identity: Identity) -> Chain:
    """Adds the blocks that this SN's etcd member holds and the chain file does not; returns the whole chain.

    They are read from a copy of its data: one that was forced to go on alone must never meet the others again.
    """
    if (place.path / ETCD_FOLDER).is_dir():
        copy = place.path / f"{ETCD_FOLDER}.alone"
        shutil.rmtree(copy, ignore_errors=True)
        member = EtcdMember(require_binary(os.environ), copy, place.uid, nobody)
        try:
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
    return (await _loaded(file, place, identity)).chain


async def _no_archive(start: int, limit: int) -> list[bytes]:
    return []


async def _loaded(log: Log, place: DataDirectory, identity: Identity) -> Miner:
    miner = Miner(log, place.uid, identity.signer(), lambda: time.time_ns() // 1_000_000)
    try:
        if (base := Checkpoints(place.path).base(place.network)) is not None:
            await miner.resume(base)
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
