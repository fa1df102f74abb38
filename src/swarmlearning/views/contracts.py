"""Which trainings are open to every organisation, as people have to know it when a node starts."""

from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.contracts.network.policies import CREATE_CONTRACT, TAKE_PART, quorum_of
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.views.names import displayed
from swarmlearning.views.render import listed


def open_text(world: World) -> str:
    """One line: the contracts under which every organisation may train, and how to restrict that; empty if none is."""
    if quorum_of(world, TAKE_PART) != "one":
        return ""
    names = {state.name for state in world.area("training/", Training) if _is_open(state)}
    default = world.get(f"training/{DEFAULT_CONTRACT}", Training)
    if default is None:
        names.add(DEFAULT_CONTRACT)
    found = [displayed(name) for name in sorted(names, key=lambda name: (name != DEFAULT_CONTRACT, name))]
    if quorum_of(world, CREATE_CONTRACT) == "none":
        found.append("any name that nobody has created (policy create-contract is none)")
    if not found:
        return ""
    return (
        f"Open to every organisation of this network: {listed(found)}. For chosen ones: swarm contract create NAME "
        "--member ORGANISATION; to close open ones: swarm policy set take-part own"
    )


def _is_open(state: Training) -> bool:
    return state.charter is None or not state.charter.members
