"""What is tried with the contract alone, and ordered nowhere: from a round in slices as the ledger shows it."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulation.ledger import CONTRACT
from simulation.slicerules import contributors
from simulation.wayback import change_of
from swarmlearning.ledger.bodies import Body, Exclusion, ReportFault, Sliced, Weigh
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.contract import SLICED_TRAINING
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.transfers import back_in
from swarmlearning.ledger.contracts.training.weighing import WHOLE
from swarmlearning.ledger.world import World

if TYPE_CHECKING:
    from simulation.swarm import Swarm


@dataclass(frozen=True)
class Occasion:
    """A round in slices that is in progress, and what has been taken from mergers in its term."""

    state: Training
    current: Round
    slicing: Slicing
    taken: frozenset[int]
    dice: random.Random

    @property
    def indexes(self) -> list[int]:
        """All slices, in any order."""
        found = list(range(len(self.slicing.slices)))
        self.dice.shuffle(found)
        return found

    @property
    def members(self) -> list[str]:
        """Those that are there, in any order."""
        found = [uid for uid, member in self.state.members.items() if member.alive]
        self.dice.shuffle(found)
        return found

    def sliced(self, index: int, root: str) -> Sliced:
        """What a merger states."""
        due = not self.slicing.survey and back_in(self.state, self.current.base) != "float32"
        change = change_of(self.current.base, root) if due else ""
        return Sliced(self.slicing.round, self.slicing.recipe, index, root, change)

    def fault(self, index: int, uid: str) -> ReportFault:
        return ReportFault(self.slicing.round, self.slicing.recipe, index, Exclusion(uid, "unreachable", ""))

    def weigh(self, *, again: bool) -> Weigh:
        """Coefficients that could be those of the models."""
        count = len(contributors(self.current, self.slicing))
        shares = (WHOLE - count + 1, *(1 for _ in range(count - 1)))
        return Weigh(self.current.number, self.current.term, self.slicing.recipe, shares, again)


def refusal(swarm: "Swarm", uid: str, body: Body) -> str | None:
    """Why the contract refuses this of a member now; None where it does not."""
    try:
        said(swarm, swarm.log.head.world, uid, body)
    except Rejection as why:
        return str(why)
    return None


def said(swarm: "Swarm", world: World, uid: str, body: Body) -> World:
    """What the world is after this node has said this of the training. Raises `Rejection`."""
    chain = swarm.log.head
    node = network.node(world, uid)
    signer = network.certificate(world, node.certificate) if node else None
    if node is None or signer is None:
        raise Rejection(Code.UNKNOWN_NODE, f"there is no {uid}")
    tx = TxContext(uid, node.incarnation, signer, chain.height + 1, chain.time_ms, anchor=chain.height)
    return SLICED_TRAINING.rules[type(body)].change(world, CONTRACT, body, tx)
