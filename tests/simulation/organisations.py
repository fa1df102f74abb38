"""Some swarms belong to several organisations, fewer than half of which are adversarial.

They are the seeds that end with 4 or 9; a random stream of their own decides, so all other seeds mean what they meant.
"""

import random
from dataclasses import dataclass

from simulation.coded import contract_of, transfer_of
from simulation.faults import operate
from simulation.intruder import Intruder, Serves
from simulation.ledger import CONTRACT
from simulation.lying import add_lying_sns
from simulation.moves import KINDS, MOVES
from simulation.slicemoves import slice_moves
from simulation.swarm import Swarm
from simulation.unsigned import ORGANISATIONS, paper, papers
from simulation.wayback import back_of
from swarmlearning.choices import Transfer, TransferBack
from swarmlearning.ledger.bodies import AdmitOrganisation, Anchor, CreateContract, NewOrganisation
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.bodies import Weights

ARRIVAL_SECONDS = 20.0
"""Seconds within which most of an adversary's nodes arrive."""
BY: tuple[Weights, ...] = ("own", "equal")
CAPS = (0, 400, 500)
"""What one organisation may weigh, in thousandths."""
SERVES: tuple[Serves, ...] = ("models", "nothing", "drops")
LYING = 0.5
"""The probability that adversarial organisations run SNs."""
MOST_NODES = 3
"""Sites of one adversarial organisation."""


@dataclass(frozen=True)
class Makeup:
    """The organisations of a swarm: honest and adversarial ones, and of how many a round needs sites."""

    honest: tuple[str, ...]
    adversarial: tuple[str, ...]
    needed: int


def add_organisations(swarm: Swarm, seed: int) -> None:
    """Gives the sites of this seed's swarm to organisations, creates the contract, and adds the adversarial nodes."""
    if created := contract_of(swarm, seed):
        operate(swarm, swarm.operator, CONTRACT, created)
    if seed % 5 != 4:
        return
    dice = random.Random(f"organisations {seed}")
    makeup = _makeup(dice, len(swarm.sites))
    _found(swarm, (*makeup.honest, *makeup.adversarial))
    _create_contract(swarm, makeup, dice, transfer_of(swarm, seed), back_of(swarm, seed))
    for index, site in enumerate(swarm.sites.values()):
        belongs = makeup.honest[index] if index < len(makeup.honest) else dice.choice(makeup.honest)
        site.organisation, site.papers = belongs, paper(belongs, "SL")
        swarm.struck["site of an organisation"] += 1
    if makeup.adversarial and dice.random() < LYING:
        add_lying_sns(swarm, makeup.honest, makeup.adversarial, dice)
    for organisation in makeup.adversarial:
        _add_adversary(swarm, organisation, dice)


def _makeup(dice: random.Random, sites: int) -> Makeup:
    count = dice.choice((1, 2, 3, 3, 3, 4, 5, 5, 5))
    most = (count - 1) // 2
    adversarial = dice.randint(min(1, most), most)
    honest = min(count - adversarial, sites)
    adversarial = min(adversarial, honest - 1)
    names = dice.sample(ORGANISATIONS, honest + adversarial)
    return Makeup(tuple(names[:honest]), tuple(names[honest:]), (honest + adversarial) // 2 + 1)


def _found(swarm: Swarm, names: tuple[str, ...]) -> None:
    """Admits the organisations: each operator that is there signs, until the policy has its quorum."""
    operators = ["SWCI"]
    for name in names:
        new = NewOrganisation(name, name, (Anchor(papers().pems[paper(name, "CA")]),))
        for operator in operators:
            if network.organisation(swarm.log.head.world, name) is None:
                operate(swarm, operator, network.CONTRACT, AdmitOrganisation(new))
        operators.append(paper(name, "SWCI"))


def _create_contract(swarm: Swarm, makeup: Makeup, dice: random.Random, transfer: Transfer, back: TransferBack) -> None:
    swarm.operator = paper(makeup.honest[0], "SWCI")
    swarm.min_organisations = makeup.needed
    weights: Weights = dice.choice(BY)
    created = CreateContract(
        (*makeup.honest, *makeup.adversarial),
        min_organisations=makeup.needed,
        weights=weights,
        max_organisation_weight=CAPS[makeup.needed % len(CAPS)],
        transfer=transfer,
        transfer_back=back,
    )
    operate(swarm, swarm.operator, CONTRACT, created)


def _add_adversary(swarm: Swarm, organisation: str, dice: random.Random) -> None:
    """Adds the nodes of an adversarial organisation: what they send is of one or several kinds."""
    kinds = dice.choice((*((kind,) for kind in KINDS), ("depose",), KINDS, KINDS))
    pace = dice.choice((0.05, 0.2, 1.0, 5.0))
    serves: Serves = dice.choice(SERVES)
    moves = [name for kind in kinds for name in MOVES[kind]]
    moves += slice_moves(swarm)
    for number in range(1, dice.randint(1, MOST_NODES) + 1):
        uid = f"{organisation}-sl-{number}"
        node = Intruder(swarm, uid, paper(organisation, "SL"), moves, pace, serves, dice.randrange(2**32))
        swarm.intruders[uid] = node
        begins = dice.choice((0.0, dice.uniform(0.0, ARRIVAL_SECONDS)))
        swarm.clock.after(begins, node.arrive)
    operator = Intruder(
        swarm, f"{organisation}-op", paper(organisation, "SWCI"), list(MOVES["govern"]), pace * 5, "nothing", 0
    )
    swarm.clock.after(dice.uniform(0.0, ARRIVAL_SECONDS), operator.arrive)
