"""SNs that are not trusted any more: an operator restarts the network without them, or they sealed a void block."""

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import LiftQuarantine, Recover
from swarmlearning.ledger.contracts.network.state import Quarantine, Recovery, admitted, node, quarantine
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World


def recover(world: World, contract: str, body: Recover, tx: TxContext) -> World:
    """The named SNs count as having left: an operator has restarted the network without them."""
    changes = {}
    for uid in body.lost:
        known = node(world, uid)
        if known is None or known.type != "SN" or uid == tx.sender:
            raise Rejection(Code.UNKNOWN_NODE, f"{uid} is no other SN of this network")
        changes[f"node/{uid}"] = msgspec.structs.replace(known, left=True, alive=False)
    entry = Recovery(height=tx.height, by=tx.sender, lost=body.lost)
    return world.with_entries({**changes, f"recovery/{tx.height}": entry})


def lift_quarantine(world: World, contract: str, body: LiftQuarantine, tx: TxContext) -> World:
    """The SN may seal, vote and report again."""
    known = node(world, body.uid)
    entry = quarantine(world, known) if known else None
    if entry is None:
        raise Rejection(Code.NO_CHANGE, f"{body.uid} is no SN in quarantine")
    return world.with_entries({f"quarantine/{body.uid}": msgspec.structs.replace(entry, lifted=True)})


def quarantine_sealer(world: World, uid: str, height: int) -> World:
    """Puts the sealer of the void block of this height in quarantine; never the last SN that may seal."""
    known = node(world, uid)
    if known is None or [other.uid for other in admitted(world)] == [uid]:
        return world
    return world.with_entries({f"quarantine/{uid}": Quarantine(height)})
