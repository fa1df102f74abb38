"""What operators lay down for a training contract before its first session: who may train, and what a round needs.

Only the contract that scripts use which name none needs no operator, and in a network whose policy is so, any contract:
it is open to all, and nobody owns it.
"""

from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS, TxContext
from swarmlearning.ledger.contracts.network.policies import (
    CREATE_CONTRACT,
    READ_FINAL_RESULTS,
    READ_RESULTS,
    TAKE_PART,
    permits,
    quorum_of,
)
from swarmlearning.ledger.contracts.network.quotas import check_contracts
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import ChangeMembers, CreateContract, OpenSession
from swarmlearning.ledger.contracts.training.state import Charter, Training, empty
from swarmlearning.ledger.contracts.training.transfers import check_created, check_transfer
from swarmlearning.ledger.fields import NodeType
from swarmlearning.ledger.world import World


def create_uncoded(world: World, contract: str, body: CreateContract, tx: TxContext) -> World:
    """The same before rules version 3, which knows of coded changes. Raises `Rejection`."""
    check_created(body, coded=False)
    return create(world, contract, body, tx)


def create(world: World, contract: str, body: CreateContract, tx: TxContext) -> World:
    """A contract without sessions, owned by the organisation that proposes it. Raises `Rejection`.

    One that there is can be created anew after a reset: by its owner, or by anybody where that takes no part any more
    or nobody owns it, such as the default one.
    """
    check_created(body, coded=True)
    known, owner = world.get(f"training/{contract}", Training), tx.proposer or tx.signer.organisation
    if known is not None and not may_be_created(world, known, owner):
        of = f"; organisation {known.charter.owner} owns it" if known.charter else ": reset it first"
        raise Rejection(Code.CREATED_ALREADY, f"there is a contract {contract} already{of}")
    check_participants(world, body)
    check_contracts(world, owner, _owned(world, owner))
    needed = body.min_organisations or _default_minimum(body)
    count = len(set(body.members))
    if count and needed > count:
        raise Rejection(Code.LOCKED_OUT, f"a round would need sites of {needed} organisations, and {count} are members")
    charter = Charter(
        owner=owner,
        members=tuple(sorted(set(body.members))),
        observers=tuple(sorted(set(body.observers))),
        observers_read_results=body.observers_read_results,
        min_organisations=needed,
        weights=body.weights,
        max_organisation_weight=body.max_organisation_weight,
        merge_method=body.merge_method,
        min_peers=body.min_peers,
        structure=body.structure,
        shared=body.shared,
        transfer=body.transfer,
        transfer_back=body.transfer_back,
        outer=body.outer,
        on_behalf_of=tx.on_behalf_of,
    )
    run, reset_height = (known.run, known.reset_height) if known else (1, 0)
    return world.with_entries({f"training/{contract}": empty(contract, run, charter, reset_height)})


def check_participants(world: World, body: CreateContract | ChangeMembers) -> None:
    """Raises `Rejection` unless all members and observers are organisations that take part in the network."""
    for named in (*body.members, *body.observers):
        if (found := network.organisation(world, named)) is None or not found.active:
            raise Rejection(Code.UNKNOWN_ORGANISATION, f"no organisation {named} takes part in this network")


def may_be_created(world: World, state: Training, by: str = "") -> bool:
    """True if an organisation, by default its present owner, can create a contract in place of this one."""
    if state.members:
        return False
    if state.charter is None:
        return True
    owner = network.organisation(world, state.charter.owner)
    return state.reset_height > 0 and (by in ("", state.charter.owner) or owner is None or not owner.active)


def check_charter(world: World, state: Training, body: OpenSession, organisation: str) -> None:
    """Raises `Rejection` unless a site of this organisation may open this session."""
    charter = state.charter
    owner, named = (charter.sole_owner, charter.members) if charter else ("", ())
    if not named and not permits(world, TAKE_PART, organisation, owner):
        raise Rejection(
            Code.NOT_INVITED,
            f"contract {state.name} names no members, and by this network's policy {TAKE_PART} only members that a "
            "contract names take part; its owner creates one with: swarm contract create NAME --member ORGANISATION",
        )
    if charter is None:
        if state.name != DEFAULT_CONTRACT and quorum_of(world, CREATE_CONTRACT) != "none":
            raise Rejection(
                Code.NO_CONTRACT,
                f"nobody has created the contract {state.name}; an operator does: swarm contract create {state.name}",
            )
        if world.get(f"training/{state.name}", Training) is None:
            check_contracts(world, organisation, _owned(world, organisation))
        return
    if charter.members and organisation not in charter.members:
        raise Rejection(
            Code.NOT_INVITED,
            f"contract {state.name} is for {', '.join(charter.members)}; this site belongs to {organisation}",
        )
    if charter.weights == "samples" and not body.samples:
        raise Rejection(
            Code.NO_SAMPLES,
            f"contract {state.name} weighs each site by its number of training samples, and this session states none; "
            "pass it to the swarm callback: trainingSamples=len(data)",
        )
    check_transfer(charter.transfer, body.merge_method)
    for laid_down, own, name in (
        (charter.merge_method, body.merge_method, "mergeMethod"),
        (charter.min_peers, body.min_peers, "minPeers"),
        (charter.structure, body.structure, "the model's structure"),
        (charter.outer, body.outer, "outerOptimizer"),
    ):
        if laid_down and own != laid_down:
            raise Rejection(
                Code.OTHER_TERMS,
                f"contract {state.name} was created with {name} {laid_down}; this session has {own or 'none'}",
            )


def may_read_result(world: World, state: Training, organisation: str, role: NodeType, *, final: bool) -> bool:
    """True if people of this role may fetch a result of the contract for their organisation.

    That is for operators of its members, and where the contract says so of its observers, who may then have
    certificates for OBSERVER, too. `final`: the result of a training that is over.
    """
    charter = state.charter
    observed = charter is not None and charter.observers_read_results
    if role not in OPERATORS and not (role == "OBSERVER" and observed):
        return False
    named = charter.members if charter and charter.members else {each.organisation for each in state.members.values()}
    readers = {*named, *(charter.observers if charter and observed else ())}
    right = READ_FINAL_RESULTS if final else READ_RESULTS
    return permits(world, right, organisation, charter.sole_owner if charter else "", readers)


def _owned(world: World, organisation: str) -> int:
    """The number of contracts that an organisation owns, and of those without an owner in which it has sites."""
    return sum(
        state.charter.owner == organisation
        if state.charter
        else any(member.organisation == organisation for member in state.members.values())
        for state in world.area("training/", Training)
    )


def _default_minimum(body: CreateContract) -> int:
    members = len(set(body.members))
    return members // 2 + 1 if members >= 3 else 1
