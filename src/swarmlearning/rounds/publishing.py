"""What a leader publishes of a round that is merged in slices."""

from swarmlearning.ledger.bodies import Contribution, Publish, Receipt
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import contributing, kept_back
from swarmlearning.rounds.exclusions import kept_back_exclusion
from swarmlearning.rounds.slices import Assembled


def published(training: Training, current: Round, slicing: Slicing, result: Assembled) -> Publish:
    """The result, with the receipt that follows from the round."""
    recipe = recipe_of(training, current, slicing)
    coefficients = {each.uid: each.coefficient for each in recipe.contributors}
    influences = dict(zip(coefficients, result.influences, strict=False))
    kept = kept_back(current.submissions, current.base)
    there = contributing(current.submissions, current.base)
    out = kept.union(each.uid for each in slicing.excluded)
    exclusions = [
        *(kept_back_exclusion(current.submissions[uid], there) for uid in sorted(kept)),
        *(each for each in slicing.excluded if each.uid not in kept),
    ]
    plain = recipe.method == "coordmedian"
    contributions = [
        Contribution(
            uid,
            entry.digest,
            entry.weight,
            int(plain) if plain and entry.weight else coefficients.get(uid, 0),
            *influences.get(uid, (None, None)),
        )
        for uid, entry in sorted(current.submissions.items())
        if uid not in out
    ]
    receipt = Receipt(recipe.method, tuple(contributions), tuple(exclusions))
    return Publish(current.number, current.term, result.result, result.size, receipt, result.step)
