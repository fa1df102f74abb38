"""Publishing the result of a round, merged in slices or not."""

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import transactions
from swarmlearning.ledger.contracts.training.assigning import not_held
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.contracts.training.recipes import SURVEYED, recipe_of
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import copies, kept_back
from swarmlearning.ledger.contracts.training.transitions import round_led, terms_of


def publish(state: Training, body: Publish, uid: str, now_ms: int) -> Training:
    """As without slices; a round merged in slices has those exclusions that members agree on, and each slice is held by
    another live member than the leader, where it has to wait for one. Raises `Rejection`."""
    current = round_led(state, body.round, body.term, uid)
    slicing = slicing_of(state, current.number)
    if slicing is not None:
        _check_slices(state, current, slicing, body, uid)
    return transactions.publish(state, body, uid, now_ms, copies(current.submissions, current.base))


def _check_slices(state: Training, current: Round, slicing: Slicing, body: Publish, uid: str) -> None:
    kept = kept_back(current.submissions, current.base)
    if {part.uid for part in body.receipt.exclusions} - kept != {part.uid for part in slicing.excluded} - kept:
        raise Rejection(Code.WRONG_CONTRIBUTORS, "left out of a round merged in slices is whom its mergers agree on")
    shares = {one.uid: one.coefficient for one in recipe_of(state, current, slicing).contributors}
    wrong = [part.uid for part in body.receipt.contributions if part.coefficient != shares.get(part.uid, 0)]
    if terms_of(state).merge_method == SURVEYED and wrong:
        raise Rejection(Code.WRONG_CONTRIBUTION, f"the coefficient of {wrong[0]} is another one on the ledger")
    if lacking := not_held(state, slicing, uid):
        raise Rejection(
            Code.NOT_MERGED, f"{len(lacking)} of {len(slicing.slices)} slices are not held by another member yet"
        )
