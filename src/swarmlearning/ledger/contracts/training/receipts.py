"""Checks of a merge's receipt: it states what anyone who holds the models needs to make the result again."""

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.contracts.training.state import Round, Terms, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back
from swarmlearning.ledger.contracts.training.transitions import shortened, terms_of
from swarmlearning.ledger.contracts.training.weighing import coefficients


def check_receipt(terms: Terms, current: Round, body: Publish) -> None:
    """Raises `Rejection` unless the receipt names every contributor once, with the model and weight it submitted."""
    receipt = body.receipt
    if receipt.method != terms.merge_method:
        raise Rejection(Code.WRONG_METHOD, f"the contract merges by {terms.merge_method}")
    named = [part.uid for part in receipt.contributions] + [part.uid for part in receipt.exclusions]
    if sorted(named) != sorted(current.submissions):
        raise Rejection(
            Code.WRONG_CONTRIBUTORS, "the receipt must name every contributor of the frozen round exactly once"
        )
    kept = kept_back(current.submissions, current.base)
    if wrong := kept ^ {part.uid for part in receipt.exclusions if part.reason == "kept-back"}:
        raise Rejection(
            Code.WRONG_CONTRIBUTORS,
            f"{', '.join(sorted(wrong))}: left out as kept back is who demands more contributors than there are, and "
            "nobody else",
        )
    for part in receipt.contributions:
        entry = current.submissions[part.uid]
        if (part.digest, part.weight) != (entry.digest, entry.weight):
            raise Rejection(
                Code.WRONG_CONTRIBUTION,
                f"{part.uid} submitted {shortened(entry.digest)} with weight {entry.weight}",
            )


def check_result(state: Training, current: Round, body: Publish) -> None:
    """Raises `Rejection` unless the result and the coefficients are such as follow from enough contributions."""
    parts, terms = body.receipt.contributions, terms_of(state)
    if not any(part.weight for part in parts) and body.result != current.base:
        raise Rejection(Code.NO_WEIGHT, "no contributor has weight: the previous model stands")
    if not body.result:
        raise Rejection(Code.NO_RESULT, "a merge of enough models has a result")
    if terms.initial == "one" and current.number == 0:
        if [part.digest for part in parts if part.coefficient] != [body.result]:
            raise Rejection(
                Code.NOT_INITIAL, "with initial sync `one` the result of round 0 is one contributor's model"
            )
    elif terms.merge_method == "mean":
        expected = coefficients(state, {part.uid: part.weight for part in parts})
        if any(part.coefficient != expected[part.uid] for part in parts):
            raise Rejection(
                Code.WRONG_CONTRIBUTION,
                "the coefficients of a mean are the contributors' weights, up to the contract's cap on an organisation",
            )
