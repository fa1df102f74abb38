"""Archives of an SN's old blocks: verified segments of its chain as files, and the signed checkpoint in their place.

    NETWORK-FIRST-LAST.blocks      blocks of the chain, a chain file by itself
    NETWORK-LAST.checkpoint        the state after the last of them, signed by a majority of the SNs

The file of blocks is written and verified first, then the signatures are collected; only then, and if the operator
says so, an SN that does not run gives up the blocks. It keeps the newest 1025 of those archived, by which transactions
are judged, and the checkpoint as its base (`node/checkpoints.py`).
"""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.files import make_private, replace_file, whole_folder
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.attested import SignedCheckpoint, Statement, read, require_majority, signature_fault
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import CheckpointError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import BrokenChainError, Replay
from swarmlearning.node.checkpoints import BASE_FILE, Checkpoints, read_signed
from swarmlearning.node.datadir import DataDirectory, NodeRecord, read_record, write_record
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.local import ChainWriter, extent, iterate_chain_file, shorten
from swarmlearning.sn.copies import require_empty
from swarmlearning.sn.node import CHAIN_FILE

ANSWER_SECONDS = 10.0
NEAR = 64
"""Blocks: an SN attests one of its newest 1024, so the head that is archived must be about as new as the chain's."""


class Archived(NamedTuple):
    """The outcome: both files, the checkpoint, and the heights of the blocks in the file."""

    blocks: Path
    checkpoint: Path
    signed: SignedCheckpoint
    heights: range


async def archive(data_dir: Path, folder: Path, identity: Identity) -> Archived:
    """Writes both files for the SN of a data directory, which may be at work.

    Raises `NodeError` or `OrderingError`: a block is damaged, or too few SNs have signed, with what each has answered.
    """
    record, file = read_record(data_dir), data_dir / CHAIN_FILE
    if not record.network:
        raise NodeError(f"{data_dir}: no data directory of an SN that has worked")
    base = Checkpoints(data_dir).base(record.network)
    first = base.height + 1 if base else 0
    try:
        make_private(folder)
        part = folder / f".{record.network[:16]}-{first}.part"
        part.unlink(missing_ok=True)
        chain = await asyncio.to_thread(_copy, file, part, base or Chain())
        blocks = tuple(iterate_chain_file(file, min(chain.hashes)))[: len(chain.hashes)]
        signed = SignedCheckpoint(chain, blocks, await _signatures(chain, record.uid, identity))
        require_majority(signed)
        done = folder / f"{record.network[:16]}-{first}-{chain.height}.blocks"
        checkpoint = folder / f"{record.network[:16]}-{chain.height}.checkpoint"
        part.replace(done)
        replace_file(checkpoint, signed.encode(), 0o644)
        read(checkpoint.read_bytes(), record.network)  # as whoever starts from it will
    except CheckpointError as error:
        raise NodeError(f"no checkpoint at block {chain.height}: {error}. Do it again when they answer") from error
    except OSError as error:
        raise NodeError(f"{error.filename or folder}: {error.strerror}. Nothing was archived") from error
    return Archived(done, checkpoint, signed, range(first, chain.height + 1))


def give_up(data_dir: Path, done: Archived) -> int:
    """Removes the archived blocks from the chain file of an SN that does not run; returns the oldest height it keeps.

    Raises `NodeError`, also while the SN runs: then all is as it was.
    """
    first = min(done.signed.chain.hashes)
    with DataDirectory(data_dir) as place:
        try:
            replace_file(place.path / BASE_FILE, done.signed.encode())
        except OSError as error:
            raise NodeError(f"{place.path / BASE_FILE}: {error.strerror}. Nothing was removed") from error
        shorten(place.path / CHAIN_FILE, first)
    return first


def _copy(source: Path, target: Path, base: Chain) -> Chain:
    """Verifies the chain from its base on and writes its blocks, until it is nearly as long as that of the SN."""
    replay = Replay(base)
    with ChainWriter(target, after=base.height) as writer:
        while extent(source).stop > replay.chain.height + NEAR or replay.chain is base:
            for raw in iterate_chain_file(source, replay.chain.height + 1):
                try:
                    replay.append(raw)
                except BrokenChainError as error:
                    raise NodeError(f"{source}: {error}. `swarm sn repair` fetches it anew") from error
                writer.add(replay.chain.height, raw)
            if replay.chain is base:
                raise NodeError(f"{source}: there are no blocks to archive yet")
    if replay.chain.height in replay.chain.voids:
        raise NodeError(f"{source}: its newest block, {replay.chain.height}, is void: do it again after the next one")
    return replay.chain


async def _signatures(chain: Chain, own: str, identity: Identity) -> Mapping[str, str]:
    """Those of the SNs that answer, and of this one: only what they have signed right. Raises `CheckpointError` where
    an SN has signed something else, which a majority must not hide."""
    stated = Statement.of(chain).signed_bytes
    admitted = network.admitted(chain.world)
    found = {sn.uid: jws for sn, jws in zip(admitted, await _asked(chain, identity), strict=True) if jws}
    if own not in found and _is_own(chain, own, identity):  # it is stopped, and its operator signs for it
        found[own] = identity.signer().sign(stated)
    for sn in admitted:
        fault = signature_fault(chain, sn.uid, found.get(sn.uid), stated)
        if fault == "has signed something else":
            raise CheckpointError(f"{sn.name} has another block or state at this height. `swarm status` shows more")
        if fault:
            found.pop(sn.uid, None)
    return found


async def _asked(chain: Chain, identity: Identity) -> list[str]:
    async def ask(address: str) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), SnClient(address, client_context(identity)) as client:
                return await client.attestation(chain.height)
        except (Unavailable, Refusal, TimeoutError):
            return ""

    async def nobody() -> str:
        return ""

    addresses = [sn.addresses.get("api", "") for sn in network.admitted(chain.world)]
    return await asyncio.gather(*(ask(address) if address else nobody() for address in addresses))


class Started(NamedTuple):
    """The outcome of a start from a checkpoint: the checkpoint, and the UID of the new node."""

    signed: SignedCheckpoint
    uid: str


def start_from(checkpoint: Path, data_dir: Path, *, sn: bool, network_id: str = "", block: str = "") -> Started:
    """Makes the data directory of a new node that starts from a signed checkpoint, without the blocks before it.

    `sn`: of an SN, which keeps the blocks at its head. `network_id`, `block`: of which network and head it has to be,
    where that is known.
    Raises `NodeError` naming what is wrong; then nothing was made.
    """
    require_empty(data_dir, lambda: "a node that starts from a checkpoint is a new one")
    signed = read_signed(checkpoint, network_id)
    chain = signed.chain
    if block and chain.hash != block:
        raise NodeError(f"{checkpoint} is not used: its head is block {chain.hash}, not {block}")
    uid = str(uuid.uuid4())
    try:
        with whole_folder(data_dir) as making:
            replace_file(making / BASE_FILE, signed.encode())
            write_record(making, NodeRecord(uid, 0, chain.network_id, network.network(chain.world).name))
            if sn:
                first = min(chain.hashes)
                with ChainWriter(making / CHAIN_FILE) as writer:
                    for height, raw in enumerate(signed.blocks, first):
                        writer.add(height, raw)
    except OSError as error:
        raise NodeError(f"{error.filename or data_dir}: {error.strerror}. Nothing was made") from error
    return Started(signed, uid)


def _is_own(chain: Chain, uid: str, identity: Identity) -> bool:
    known = network.node(chain.world, uid)
    return known is not None and known.certificate == identity.thumbprint
