"""Changes of who takes part in a contract, also while it is trained.

Whoever is added reads what the sites of others have trained. So the owner alone does that only while no other's sites
take part, and what narrows the circle of readers at any time; all else follows the policy of the act. Sites that train
are not turned out of a run: that is what a reset is for.
"""

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import ChangeMembers
from swarmlearning.ledger.contracts.training.charter import check_participants
from swarmlearning.ledger.contracts.training.state import Charter, Training, state_of
from swarmlearning.ledger.world import World


def change_members(world: World, contract: str, body: ChangeMembers, tx: TxContext) -> World:
    """The contract with these members and observers, from this height on. Raises `Rejection`."""
    state = state_of(world, contract)
    charter = state.charter
    if charter is None:
        raise Rejection(
            Code.NO_CONTRACT,
            f"contract {contract} has no owner who could change its members; an operator creates one with members: "
            f"swarm contract create {contract} --member ORGANISATION",
        )
    check_participants(world, body)
    after = _changed(charter, body)
    if after == charter:
        raise Rejection(Code.NO_CHANGE, f"contract {contract} has these members and observers already")
    if after.members and after.min_organisations > len(after.members):
        raise Rejection(
            Code.LOCKED_OUT,
            f"a round of contract {contract} needs sites of {after.min_organisations} organisations, and "
            f"{len(after.members)} would be members",
        )
    training = _training(state).difference(after.members)
    if after.members and training and not state.over:
        raise Rejection(
            Code.NOT_OVER,
            f"sites of {', '.join(sorted(training))} take part in run {state.run} of contract {contract}; once it is "
            "over, or after a reset, they can be removed",
        )
    return world.with_entries({f"training/{contract}": msgspec.structs.replace(state, charter=after)})


def owner_alone(world: World, contract: str, body: ChangeMembers) -> str:
    """The contract's owner where it may change the members alone: nobody gets to read what others have trained."""
    state = state_of(world, contract)
    if state.charter is None:
        return ""
    before, after = state.charter, _changed(state.charter, body)
    narrower = bool(after.members) and _readers(state, after) <= _readers(state, before)
    return before.sole_owner if narrower or _training(state) <= {before.owner} else ""


def present_members(world: World, contract: str) -> str:
    """The run and the members that a change refers to: who has agreed to it has not agreed to it for others."""
    state = state_of(world, contract)
    charter = state.charter
    named = ", ".join(charter.members) if charter else ""
    return f"run {state.run} with members {named or 'of every organisation'}"


def _changed(charter: Charter, body: ChangeMembers) -> Charter:
    return msgspec.structs.replace(
        charter,
        members=tuple(sorted(set(body.members))),
        observers=tuple(sorted(set(body.observers))),
        observers_read_results=body.observers_read_results,
    )


def _readers(state: Training, charter: Charter) -> set[str]:
    """The organisations that read results; where no members are named, those whose sites train do."""
    named = set(charter.members) or {charter.owner, *_training(state)}
    return named.union(charter.observers if charter.observers_read_results else ())


def _training(state: Training) -> set[str]:
    return {member.organisation for member in state.members.values()}
