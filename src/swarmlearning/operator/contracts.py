"""Acts on training contracts as SWCI has them: a contract of all organisations, and the reset of one that is over."""

from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.bodies import CreateContract, Reset
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.world import World
from swarmlearning.operator import acts
from swarmlearning.operator.acts import Act, ActError
from swarmlearning.views.names import displayed


def known_contract(world: World, name: str) -> Training:
    """The contract of this name; the one that scripts use which name none is always there. Raises `ActError`."""
    return state_of(world, name) if name == DEFAULT_CONTRACT else acts.training(world, name)


def create_shared(world: World, name: str) -> Act:
    """Creates a training contract of all organisations. Raises `ActError`."""
    return acts.create_contract(world, name, CreateContract(shared=True))


def reset_completed(world: World, name: str) -> Act:
    """Empties a contract whose training is over, or that has no session. Raises `ActError`."""
    state = known_contract(world, name)
    if state.members and not state.over:
        raise ActError(
            f"training of contract {displayed(name)} is not over; wait for its end (GET CONTRACT STATUS), or end it "
            f"with: swarm contract reset {displayed(name)} --force"
        )
    return Act(name, Reset(forced=False), f"contract {displayed(name)} is empty; run {state.run + 1} may begin")
