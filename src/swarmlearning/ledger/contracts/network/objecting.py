"""Blocks that are refused: more than half of the SNs that count have signed that its time is ahead of their clocks.

The signatures are collected before anything can be ordered, as those of a recovery are, and sent in one transaction.
A sealer cannot object to its own block: so once enough of the others agree to it, it is certain not to be refused.
"""

from typing import Literal, NamedTuple

import msgspec

from swarmlearning.identity.certificates import load_leaf
from swarmlearning.identity.signing import SignatureError, verify
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import Objection, RefuseBlock
from swarmlearning.ledger.contracts.network.recovery import quarantine_sealer
from swarmlearning.ledger.contracts.network.state import RefusedBlock, certificate, node
from swarmlearning.ledger.contracts.network.trust import check_trust
from swarmlearning.ledger.contracts.network.watching import AHEAD_MS, DOUBT_MS, counting, is_majority
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

Decision = Literal["wait", "accept", "refuse"]


class Disputed(NamedTuple):
    """A sealed block whose time is ahead of somebody's clock: network, height, hash, and the UID of its sealer."""

    network: str
    height: int
    block: str
    sealer: str


class _Statement(msgspec.Struct, frozen=True, tag_field="kind", tag="objection"):
    network: str
    height: int
    block: str
    sealer: str


def statement(disputed: Disputed) -> bytes:
    """The bytes that an SN signs which objects to a block."""
    return canonical(_Statement(*disputed))


def check_objection(world: World, disputed: Disputed, objection: Objection, time_ms: int) -> None:
    """Raises `Rejection` unless another SN than the sealer has signed the objection."""
    sn = node(world, objection.sn)
    stored = certificate(world, sn.certificate) if sn else None
    if sn is None or stored is None or sn.type != "SN" or sn.uid == disputed.sealer:
        raise Rejection(Code.UNKNOWN_NODE, f"{objection.sn} is no SN that may object to this block")
    check_trust(world, stored, time_ms)
    try:
        signed = verify(objection.signature, load_leaf(stored.pem))
    except SignatureError as error:
        raise Rejection(Code.BAD_SIGNATURE, f"objection of SN {sn.uid}: {error}") from error
    if signed != statement(disputed):
        raise Rejection(Code.BAD_SIGNATURE, f"SN {sn.uid} has signed an objection to another block than this one")


def decide(
    world: World, sealer: str, agreeing: set[str], objecting: set[str], ahead_ms: int, *, agrees: bool
) -> Decision:
    """The decision of an SN about a block that is ahead by so much, by which SNs agree to it and which object.

    `agrees`: this SN does. An SN whose clock has come near the block's time acts on it as on any other.
    """
    if ahead_ms <= DOUBT_MS:
        return "accept"
    if ahead_ms > AHEAD_MS and is_majority(world, objecting - {sealer}):
        return "refuse"
    possible = {sn.uid for sn in counting(world)} - agreeing - {sealer}
    if is_majority(world, possible):
        return "wait"
    return "accept" if agrees or is_majority(world, agreeing | {sealer}) else "wait"


def refuse_block(world: World, contract: str, body: RefuseBlock, tx: TxContext) -> World:
    """The sealer of a refused block is in quarantine. Raises `Rejection`."""
    if body.height > tx.height:
        raise Rejection(Code.NO_BLOCK, f"no block {body.height} can have been sealed: this is block {tx.height}")
    sealer = node(world, body.sealer)
    if sealer is None or sealer.type != "SN":
        raise Rejection(Code.UNKNOWN_NODE, f"{body.sealer} is no SN of this network")
    known = world.get(f"refused/{body.sealer}", RefusedBlock)
    if known is not None and known.height >= body.height:
        raise Rejection(Code.NO_CHANGE, f"block {known.height} of {body.sealer} has been refused already")
    disputed = Disputed(tx.network, body.height, body.block, body.sealer)
    for objection in body.objections:
        check_objection(world, disputed, objection, tx.time_ms)
    by = sorted({objection.sn for objection in body.objections})
    if not is_majority(world, by):
        raise Rejection(Code.NOT_COUNTED, f"{', '.join(by) or 'nobody'}: not more than half of the SNs that count")
    after = world.with_entries({f"refused/{body.sealer}": RefusedBlock(body.height, body.block, tuple(by))})
    return quarantine_sealer(after, body.sealer, body.height, "ahead")
