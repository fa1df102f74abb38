"""How what sites contribute travels, and what was merged travels back: whole models, or coded changes of the round's
base (`merge/changes.py`). Pure.

Where merges travel back as changes, the merge *is* what base and decoded change give. So it has two names on the
ledger, its own and that of the change: whoever has the base fetches the change, all others the model.
"""

from swarmlearning.choices import MergeMethod, Transfer, TransferBack
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import CreateContract, Publish, Sliced
from swarmlearning.ledger.contracts.training.state import Round, Training


def transfer_in(state: Training, base: str) -> Transfer:
    """How models travel to those who merge them in a round with this base; without one there is nothing to change."""
    return state.charter.transfer if state.charter and base else "float32"


def back_in(state: Training, base: str) -> TransferBack:
    """How what is merged travels back in a round with this base."""
    return state.charter.transfer_back if state.charter and base else "float32"


def is_coded(state: Training, base: str) -> bool:
    """True if changes of this base travel in its round, one way or the other: nobody merges without it."""
    return not transfer_in(state, base) == back_in(state, base) == "float32"


def merged_of(state: Training) -> str:
    """What was merged for the standing result: the result itself, but where an outer step was taken from there; empty
    without a result."""
    if state.result is None:
        return ""
    step = state.steps.get(state.result.digest)
    return step.merged if step else state.result.digest


def check_change(state: Training, current: Round, body: Publish) -> None:
    """Raises `Rejection` unless a coded change is stated where one is due, and only there: of a round merged in slices
    each slice's is stated by who has merged it."""
    sliced = any(each.round == current.number for each in state.slicings)
    due = back_in(state, current.base) != "float32" and body.result != current.base and not sliced
    if due != bool(body.change):
        is_due = "is due" if due else "is none"
        raise Rejection(Code.WRONG_CHANGE, f"round {current.number}: there {is_due} to be a coded change to its merge")


def check_coded(state: Training, current: Round, body: Sliced, survey: int) -> None:
    """The same for a slice, of which in a `survey` nothing is merged."""
    due = back_in(state, current.base) != "float32" and not survey
    if due != bool(body.change):
        is_due = "is due" if due else "is none"
        what = f"slice {body.slice} of round {current.number}"
        raise Rejection(Code.WRONG_CHANGE, f"{what}: there {is_due} to be a coded change")


def has_feedback(method: MergeMethod) -> bool:
    """Whether what coding leaves out of one change is added to the next: medians are not linear, so it is of no use."""
    return method == "mean"


def check_transfer(transfer: Transfer, method: MergeMethod | None) -> None:
    """Raises `Rejection` where models that travel so cannot be merged well by this method."""
    if transfer == "int4" and method not in (None, "mean"):
        raise Rejection(
            Code.OTHER_TERMS,
            f"changes in int4 are too coarse for {method}: a median tells no error of coding from what sites have "
            "trained. Use int8, or mergeMethod mean",
        )


def check_created(body: CreateContract, *, coded: bool) -> None:
    """Raises `Rejection` for a contract whose transfer is not possible; `coded`: the rules know of coded changes."""
    if not body.transfer == body.transfer_back == "float32" and not coded:
        raise Rejection(
            Code.OTHER_TERMS,
            "this network's rules know no transfer; its operators switch them first: swarm policy switch-rules",
        )
    check_transfer(body.transfer, body.merge_method)


def check_reasons(body: Publish) -> None:
    """Raises `Rejection` for a reason to leave a model out that rules before version 3 do not know."""
    if any(each.reason == "malformed" for each in body.receipt.exclusions):
        raise Rejection(Code.WRONG_CONTRIBUTORS, "nothing is coded under these rules, so nothing is malformed")
