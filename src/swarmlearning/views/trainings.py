"""A training contract as SWCI's users know it: what it lays down, its present state, and the performance of each pair.

All of it is safe to show.
"""

from typing import Literal, TypeAlias

import msgspec

from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.world import World
from swarmlearning.views.agreed import outer_of, transfer_back_of, transfer_of
from swarmlearning.views.names import displayed, fetch_addresses, name_of, node_names
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting_in

ContractState: TypeAlias = Literal["UNINITIALIZED", "INITIALIZED", "RUNNING", "COMPLETED"]
"""`UNINITIALIZED`: no session yet; `INITIALIZED`: fewer than minPeers; `RUNNING`: rounds; `COMPLETED`: it is over."""


class ContractInfo(msgspec.Struct, frozen=True):
    """What a contract lays down. `owner` empty: nobody alone; no `members`: every organisation; others empty or 0:
    left to the first session. `max_organisation_weight` in thousandths. `outer_optimizer` with its learning rate and
    momentum; empty without one."""

    name: str
    owner: str
    members: tuple[str, ...]
    observers: tuple[str, ...]
    min_organisations: int
    weights: str
    max_organisation_weight: int
    merge_method: str
    min_peers: int
    structure: str
    transfer: str = "float32"
    transfer_back: str = "float32"
    outer_optimizer: str = ""


class ContractStatus(msgspec.Struct, frozen=True):
    """How a contract is now; `text` says for whom it waits. `active_peers` take part, of all `peers` of this run;
    `finished_peers` have ended their local training."""

    name: str
    state: ContractState
    run: int
    rounds: int
    min_peers: int
    peers: int
    active_peers: int
    finished_peers: int
    leader: str
    text: str


class PairPerformance(msgspec.Struct, frozen=True):
    """The last report of an SL-ML pair; `leads`: it is the leader (SL ADMIN) of the round in progress. None: none."""

    uid: str
    name: str
    leads: bool
    loss: float | None
    metric: float | None
    total_epochs: int
    epochs: int


def contract_names(world: World) -> list[str]:
    """The names of all training contracts; the one that scripts use which name none is always there."""
    return sorted({DEFAULT_CONTRACT, *(state.name for state in world.area("training/", Training))})


def contract_info(state: Training) -> ContractInfo:
    """What the contract lays down, or its first session has fixed."""
    charter, terms = state.charter, state.terms
    return ContractInfo(
        name=displayed(state.name),
        owner=charter.sole_owner if charter else "",
        members=charter.members if charter else (),
        observers=charter.observers if charter else (),
        min_organisations=charter.min_organisations if charter else 1,
        weights=charter.weights if charter else "own",
        max_organisation_weight=charter.max_organisation_weight if charter else 0,
        merge_method=(terms.merge_method if terms else charter.merge_method if charter else "") or "",
        min_peers=terms.min_peers if terms else charter.min_peers if charter else 0,
        structure=terms.structure if terms else charter.structure if charter else "",
        transfer=transfer_of(state),
        transfer_back=transfer_back_of(state),
        outer_optimizer=outer_of(state),
    )


def contract_status(world: World, name: str) -> ContractStatus:
    """How the contract is now."""
    state, names = state_of(world, name), node_names(world)
    members = state.members.values()
    return ContractStatus(
        name=displayed(name),
        state=_state(state),
        run=state.run,
        rounds=state.rounds,
        min_peers=contract_info(state).min_peers,
        peers=len(members),
        active_peers=sum(member.present for member in members),
        finished_peers=sum(member.finished for member in members),
        leader=name_of(names, state.round.leader) if state.round and state.round.leader else "",
        text=waiting_text(waiting_in(world, state), names, fetch_addresses(world)),
    )


def performances(world: World, name: str) -> list[PairPerformance]:
    """The last report of each pair of the present run, by name."""
    state, names = state_of(world, name), node_names(world)
    leader = state.round.leader if state.round else state.result.leader if state.result else ""
    found = [
        PairPerformance(
            uid=displayed(uid),
            name=name_of(names, uid),
            leads=uid == leader,
            loss=member.performance.loss if member.performance else None,
            metric=member.performance.metric if member.performance else None,
            total_epochs=member.performance.total_epochs if member.performance else 0,
            epochs=member.performance.epochs if member.performance else 0,
        )
        for uid, member in state.members.items()
    ]
    return sorted(found, key=lambda each: (len(each.name), each.name, each.uid))


def _state(state: Training) -> ContractState:
    if state.over:
        return "COMPLETED"
    if not state.members:
        return "UNINITIALIZED"
    return "RUNNING" if state.round is not None else "INITIALIZED"
