"""An operator's acts on experiments: what its organisation notes about runs. Pure."""

from collections.abc import Sequence

from swarmlearning.ledger.bodies import AnnotateRun, HideRun, TagRun
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act, ActError, checked, training
from swarmlearning.views.names import displayed
from swarmlearning.views.runs import run_id, run_key

SINCE = 2
"""The version of the rules from which on runs can be annotated."""


def annotate(world: World, named: str, text: str) -> Act:
    """Sets the text of a run, such as `study/2`; an empty one removes it. Raises `ActError` or `UnknownRunError`."""
    contract, run = _run(world, named)
    body = checked(AnnotateRun(run, text.replace("\r\n", "\n").rstrip()))
    done = "is noted" if body.text else "has no text any more"
    return Act(contract, body, f"run {_shown(contract, run)} {done}")


def tag(world: World, named: str, add: Sequence[str], remove: Sequence[str]) -> Act:
    """Gives tags to a run, and takes others away. Raises `ActError` or `UnknownRunError`."""
    contract, run = _run(world, named)
    if not add and not remove:
        raise ActError("name at least one tag to give (--add) or to take away (--remove)")
    body = checked(TagRun(run, tuple(each.strip() for each in add), tuple(each.strip() for each in remove)))
    return Act(contract, body, f"the tags of run {_shown(contract, run)} are changed")


def hide(world: World, named: str, *, hidden: bool) -> Act:
    """Hides a run from the organisation's own lists, or shows it again. Raises `ActError` or `UnknownRunError`."""
    contract, run = _run(world, named)
    done = "is hidden from your organisation's lists" if hidden else "is shown again"
    return Act(contract, HideRun(run, hidden), f"run {_shown(contract, run)} {done}")


def possible(world: World) -> bool:
    """True if the rules in force know annotations."""
    return network.network(world).rules_version >= SINCE


def _run(world: World, named: str) -> tuple[str, int]:
    """Contract and number of a run that has begun. Raises `ActError` or `UnknownRunError`."""
    contract, run = run_key(named)
    present = network.network(world).rules_version
    if not possible(world):
        raise ActError(
            f"the network is at rules version {present}, and runs are annotated from version {SINCE} on; once all "
            "nodes are upgraded an operator switches it: swarm policy switch-rules"
        )
    state = training(world, contract)
    had = state.run if state.members else state.run - 1
    if not 1 <= run <= had:
        raise ActError(f"contract {displayed(contract)} has had {had} runs, and {run} is none of them")
    return contract, run


def _shown(contract: str, run: int) -> str:
    return displayed(run_id(contract, run))
